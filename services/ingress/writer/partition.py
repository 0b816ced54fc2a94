"""One partition of the channels: its threads, and the place in the log up to which everything is shown."""

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable

import structlog

from schemas.base import MalformedMessage, Message, Unknown
from schemas.bus import SESSIONS
from schemas.ends import ENDS
from schemas.events import EVENTS, Event
from schemas.inputs import CONTROLS, INPUTS, Said
from schemas.keys import SessionKey
from services.ingress.writer.holds import Holds
from services.ingress.writer.kit import Kit
from services.ingress.writer.metrics import give_up
from services.ingress.writer.thread import Thread
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.follow import read

log = structlog.get_logger(__name__)

PARTITIONS = 16
SHOWN = {"in": INPUTS, "control": CONTROLS, "out": EVENTS, "end": ENDS}
MOST_LIVE_WAITING = 1_000
# With so much unfinished (Slack is away), what follows waits in the log.
MOST_HELD = 5_000


def partition_of(key: SessionKey) -> int:
    """Return the partition of a session: all threads of a channel are in one."""
    return zlib.crc32(f"{key.team}.{key.channel}".encode()) % PARTITIONS


class Partition:
    """The threads of one partition, as long as it is ours. `run` ends with everything that was begun in it."""

    def __init__(self, number: int, bus: Bus, kit: Kit, *, position: int) -> None:
        self.number = number
        self.taken = position
        self.horizon: int | None = None
        self._bus = bus
        self._kit = kit
        self._holds = Holds(position)
        self._threads: dict[SessionKey, Thread] = {}
        self._waiting: dict[SessionKey, list[Callable[[Thread], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._inherited: set[SessionKey] = set()
        self._stalled = False
        self._spawn(self._sweep())

    @property
    def position(self) -> int:
        """Everything up to here is fully shown."""
        return self._holds.position

    def passed(self, sequence: int) -> None:
        """The log holds nothing more for us up to `sequence`."""
        if self._stalled:
            return
        self.taken = max(self.taken, sequence)
        self._holds.passed(self.taken)
        if self.horizon is None:
            self.horizon = self.taken

    def recovered(self) -> bool:
        """Whether what was passed over, when too much was unfinished, can be taken now."""
        if not self._stalled or len(self._holds) > MOST_HELD // 2:
            return False
        self._stalled = False
        return True

    # --- taking -----------------------------------------------------------------------------------------------------

    def take(self, key: SessionKey, sequence: int, leaf: str, payload: bytes, *, first: bool = False) -> None:
        """Take the stored message at `sequence` for its thread; `first` tells that nothing stands before it."""
        if len(self._holds) > MOST_HELD:
            self._stalled = True
        if self._closed or self._stalled or sequence <= self.taken:
            return
        before, self.taken = self.taken, sequence
        release = self._holds.hold(sequence)
        message = _decode(leaf, payload)

        def taken(thread: Thread) -> None:
            try:
                thread.take(sequence, message)
            except Exception:  # one event that cannot be shown keeps no other from being shown
                give_up("event", "failed")
                log.exception("an event is passed over", session=str(key), sequence=sequence)
            release()

        if isinstance(message, Said):
            self._try_again(key)
        if first and self.horizon is not None and key not in self._waiting:
            self._threads.setdefault(key, Thread(key, self._kit, self._spawn, self._holds.hold))
        self._give(key, before, taken)

    def _try_again(self, key: SessionKey) -> None:
        """Somebody speaks in the thread: where it could not be written to, it may be possible again."""
        if (thread := self._threads.get(key)) and thread.gone:
            thread.forget()
            del self._threads[key]

    def hear(self, key: SessionKey, message: Message | Unknown) -> None:
        """Take a live message for its thread."""
        if self._closed or len(self._waiting.get(key, ())) > MOST_LIVE_WAITING:
            return
        self._give(key, self.taken, lambda thread: thread.hear(message))

    def _give(self, key: SessionKey, known: int, what: Callable[[Thread], None]) -> None:
        if key in self._waiting:
            self._waiting[key].append(what)
        elif key in self._threads:
            what(self._threads[key])
        else:
            self._waiting[key] = [what]
            self._spawn(self._open(key, known, inherited=self.horizon is None))

    async def _open(self, key: SessionKey, known: int, *, inherited: bool) -> None:
        """Build the thread from what its log holds up to `known`, then give it what came meanwhile.

        A predecessor may have shown what comes now (`inherited`), or have left a turn's live message.
        """
        thread = Thread(key, self._kit, self._spawn, self._holds.hold)
        await self._remember(thread, known)
        turn = thread.view.turn
        if turn and turn.number <= (self.horizon or known):
            thread.begun(turn.number)
            self._inherited.add(key)
        if inherited:
            self._inherited.add(key)
            await thread.inherit()
        elif key in self._inherited:
            self._spawn(thread.inherit())
        self._threads[key] = thread
        for what in self._waiting.pop(key):
            what(thread)

    async def _remember(self, thread: Thread, known: int) -> None:
        filters = [f"session.{thread.key}.{leaf}" for leaf in ("in.*", "control", "out", "end.*")]
        for delivery in await read(self._bus, SESSIONS.name, filters):
            message = _decode(delivery.subject.split(".")[4], delivery.data)
            if delivery.sequence <= known:
                thread.remember(delivery.sequence, message)
            elif isinstance(message, Event):
                thread.foresee(message)

    # --- living -----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Awaitable[None]) -> None:
        if self._closed:
            if asyncio.iscoroutine(work):
                work.close()
            return
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Unavailable as e:
            log.warning("the bus is away", partition=self.number, error=str(e))
        except Exception:
            give_up("task", "failed")
            log.exception("a task of the writer failed", partition=self.number)

    async def _sweep(self) -> None:
        """Delete what a predecessor said a second time, in the threads that were in its hands."""
        begun = _now()
        for moment in self._kit.settings.sweep_after:
            await asyncio.sleep(begun + moment - _now())
            for thread in [self._threads[key] for key in self._inherited if key in self._threads]:
                await thread.sweep()

    def forget_quiet(self, now: float) -> None:
        """Let go of the threads in which nothing has happened for long; the log brings them back."""
        for key, thread in list(self._threads.items()):
            if thread.quiet and now - thread.touched > self._kit.settings.forget_after:
                thread.forget()
                del self._threads[key]

    async def drain(self, within: float) -> None:
        """Finish what is begun, and end the live streams, in at most `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._holds.position < self.taken and self._tasks:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*(thread.leave() for thread in self._threads.values()))

    async def close(self) -> None:
        """Stop writing at once."""
        self._closed = True
        for thread in self._threads.values():
            thread.forget()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _decode(leaf: str, payload: bytes) -> Message | Unknown:
    try:
        return SHOWN[leaf].decode(payload)
    except MalformedMessage as e:
        give_up("event", "malformed")
        log.warning("an event is passed over", error=str(e))
        return Unknown("malformed")
