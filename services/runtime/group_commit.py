"""Group commit: what waits to be stored while the broker syncs is stored together, with one sync for all of it."""

import asyncio
import time
from collections.abc import Coroutine, Sequence

import msgspec

from services.runtime.bus import Bus, Draft
from services.runtime.errors import Conflict, StreamFull, Unavailable

# A message by itself takes the broker 0.17 ms, a batch of 8 takes 2.0 ms, one of 32 takes 2.3 ms (nats-server 2.15).
FEW = 8
TOGETHER = 16
# A second batch is sent while the first is synced, but a full one: two small ones cost as much as two full ones.
FULL = 64
BATCHES = 2
# The broker takes up to 1,000.
MOST = 256
# A stream in which others leave their batches unfinished has no room for one, and is not waited for.
BATCH_SECONDS = 0.5


class _Write(msgspec.Struct, frozen=True, eq=False):
    draft: Draft
    until: float
    stored: asyncio.Future[None]


class GroupCommit:
    """Stores drafts for one stream that takes batches. Each holds or fails by itself; their order is nobody's promise."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: list[_Write] = []
        self._alone: set[asyncio.Task[None]] = set()
        self._batches: set[asyncio.Task[None]] = set()

    async def publish(self, draft: Draft, *, deadline: float) -> None:
        """Store `draft`, which has an id, within `deadline` seconds.

        Raises `Conflict`, `StreamFull` and `Unavailable` as the bus does.
        """
        loop = asyncio.get_running_loop()
        write = _Write(draft, time.monotonic() + deadline, loop.create_future())
        self._waiting.append(write)
        if len(self._waiting) == 1:
            loop.call_soon(self._go_on)  # with all that comes in this round of the loop
        elif len(self._waiting) in {TOGETHER, FULL}:
            self._go_on()
        await write.stored

    def _go_on(self) -> None:
        while self._waiting:
            enough = FULL if self._batches else TOGETHER
            if len(self._waiting) >= enough and len(self._batches) < BATCHES:
                self._begin(self._batches, self._together(self._take(MOST)))
            elif not self._batches and len(self._alone) < FEW:
                self._begin(self._alone, self._each(self._take(1)))
            else:
                return

    def _begin(self, among: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            among.discard(task)
            self._go_on()

        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(ended)

    def _take(self, most: int) -> list[_Write]:
        """Take up to `most` writes that somebody still waits for, of each subject one: a second one hangs on the first."""
        taken: dict[str, _Write] = {}
        left = []
        for write in self._waiting:
            if write.stored.done():
                continue
            if len(taken) < most and write.draft.subject not in taken:
                taken[write.draft.subject] = write
            else:
                left.append(write)
        self._waiting = left
        return list(taken.values())

    async def _together(self, writes: Sequence[_Write]) -> None:
        try:
            await self._bus.publish_batch([write.draft for write in writes], deadline=BATCH_SECONDS)
        except (Conflict, StreamFull, Unavailable):
            # One of them spoils it for all; who it is, and whether all are there already, the broker tells each by itself.
            await self._each(writes)
        else:
            for write in writes:
                _settle(write, None)

    async def _each(self, writes: Sequence[_Write]) -> None:
        await asyncio.gather(*map(self._one, writes))

    async def _one(self, write: _Write) -> None:
        try:
            await self._bus.publish(write.draft, deadline=write.until - time.monotonic())
        except Exception as e:  # whoever waits hears of it
            _settle(write, e)
        else:
            _settle(write, None)


def _settle(write: _Write, error: Exception | None) -> None:
    if write.stored.done():  # whoever waited has given up
        return
    if error:
        write.stored.set_exception(error)
    else:
        write.stored.set_result(None)
