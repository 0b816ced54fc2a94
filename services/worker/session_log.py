"""The holder's pen: everything that a worker writes into its session's log, fenced and in order."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import structlog

from schemas.ends import TurnEnd
from schemas.events import Claimed, Event, TurnFinished
from schemas.keys import SessionKey
from schemas.live import Live
from schemas.state import StateAppended
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import NOT_NOW, Closed, Conflict
from services.runtime.fit import fitting
from services.runtime.redact import SHAPES, Redaction
from services.worker.lease import LeaseLost, last_out
from services.worker.masking import masked

log = structlog.get_logger(__name__)

# The stream is full or the broker away: the worker waits and says so in its log; nothing is dropped.
WAIT_SECONDS = 1.0
CLAIM_AGAIN_SECONDS = 0.1


class Standing(Protocol):
    """The lease under which a session is claimed, as `HeldLease` has it."""

    holder: str
    token: int
    follows: int

    def fresh(self) -> bool:
        """Whether it is most likely ours."""

    async def confirm(self) -> None:
        """See that it is ours for certain. Raises `LeaseLost` and `Unavailable`."""


class SessionLog:
    """Writes `out`, `end`, `state` and `live` of one session; each `out` expects to follow our own last one.

    `redaction` keeps credentials out of all of it. Our claim is at sequence `claimed`, and `follows` the last `out` before it,
    0 where there was none.
    """

    def __init__(self, bus: Bus, key: SessionKey, redaction: Redaction = SHAPES) -> None:
        self._bus = bus
        self.key = key
        self.redaction = redaction
        self._out = f"session.{key}.out"
        self._last = 0
        self._one_at_a_time = asyncio.Lock()
        self._writing: set[asyncio.Task[int]] = set()
        self._lease = self.claimed = self.follows = 0
        # Whoever writes may do so in a task that swallows errors, such as an agent's callback.
        self.lost = asyncio.Event()

    async def claim(self, lease: Standing, attempt: int) -> None:
        """Write `Claimed` after whatever is there, unless somebody else took the lease by then. Raises `LeaseLost`."""
        message = Claimed(lease=lease.token, holder=lease.holder, attempt=attempt)
        known: int | None = lease.follows
        told = 0
        while lease.fresh():
            try:
                follows = await self._followed(lease, told) if known is None else known
                self._last = await self._bus.publish(self._draft(message, Fence(follows)))
            except Conflict as e:
                known, told = None, e.last
            except NOT_NOW as e:
                told = 0
                log.warning("the session cannot be claimed yet", session=str(self.key), error=str(e))
                await asyncio.sleep(CLAIM_AGAIN_SECONDS)
            else:
                self._lease, self.claimed, self.follows = lease.token, self._last, follows
                return
        raise LeaseLost(str(self.key))

    async def _followed(self, lease: Standing, told: int) -> int:
        follows = await last_out(self._bus, self.key, told)
        # It may be the claim of whoever took the lease from us, unless that is ours even now.
        await lease.confirm()
        return follows

    async def unmoved(self) -> bool:
        """Whether the session is claimed and nobody has written `out` since our last one. Raises `Unavailable`."""
        async with self._one_at_a_time:
            return bool(self.claimed) and await last_out(self._bus, self.key, self._last) == self._last

    async def event(self, event: Event, *more: Event) -> int:
        """Append `event` and `more` to `out` in order; return the last one's sequence.

        Raises `LeaseLost` when somebody else claimed the session, or can.
        """
        return await self._whole(self._append(event, *more))

    async def _append(self, *events: Event) -> int:
        async with self._one_at_a_time:
            # A batch of two takes 1.1 ms on three nodes where two writes take 1.9; on one node 2.6 and 0.8.
            if len(events) > 1 and self._bus.replicas > 1:
                first, *more = events
                drafts = [self._draft(first, Fence(self._last)), *map(self._draft, more)]
                self._last = await self._until_stored(lambda: self._bus.publish_batch(drafts))
            else:
                for each in events:
                    self._last = await self._write(self._draft(each, Fence(self._last)))
            return self._last

    async def _write(self, draft: Draft) -> int:
        return await self._until_stored(lambda: self._bus.publish(draft))

    async def state(self, message: StateAppended) -> int:
        """Append to `state`, fenced by `out`. Raises `LeaseLost`."""
        async with self._one_at_a_time:
            draft = self._draft(
                message, Fence(self._last, self._out), msg_id=f"{message.batch}.{message.part}"
            )
            return await self._write(draft)

    async def end(self, end: TurnEnd) -> int:
        """Write the turn's last `out` and its end in one batch; return the end's sequence.

        Raises `LeaseLost` when it was ended by another: whoever did so has claimed the session.
        """
        return await self._whole(self._finish(end))

    async def _finish(self, end: TurnEnd) -> int:
        async with self._one_at_a_time:
            finished = TurnFinished(turn=end.turn, outcome=end.outcome)
            drafts = [self._draft(finished, Fence(self._last)), self._draft(end, Fence(0))]
            sequence = await self._until_stored(lambda: self._bus.publish_batch(drafts))
            self._last = sequence - 1
            return sequence

    async def _whole(self, writing: Coroutine[Any, Any, int]) -> int:
        """Write in a task of its own: what a cancelled writer began is finished, and the next one follows it."""
        task = asyncio.create_task(writing, name="write")
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[int]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; `lost` tells everybody else

    def live(self, message: Live) -> None:
        """Tell what happens this moment; nobody waits for it."""
        if self._bus.connected:
            self._bus.live(message.subject(self.key), fitting(masked(message, self.redaction)))

    @property
    def lease(self) -> int:
        """The fencing token that `live` carries."""
        return self._lease

    def _draft(
        self, message: Event | TurnEnd | StateAppended, fence: Fence | None = None, msg_id: str | None = None
    ) -> Draft:
        return Draft(
            subject=message.subject(self.key),
            # State has been redacted text by text, as JSON that it is.
            message=message
            if isinstance(message, StateAppended)
            else fitting(masked(message, self.redaction)),
            session=str(self.key),
            id=msg_id or self._bus.new_id(),
            fence=fence,
        )

    async def _until_stored(self, attempt: Callable[[], Awaitable[int]]) -> int:
        while True:
            try:
                return await attempt()
            except (Conflict, Closed) as e:
                self.lost.set()
                raise LeaseLost(str(self.key)) from e
            except NOT_NOW as e:
                log.warning(
                    "the session's log cannot be written; waiting", session=str(self.key), error=str(e)
                )
                await asyncio.sleep(WAIT_SECONDS)
