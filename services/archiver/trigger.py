"""The durable consumer as a trigger: it tells which session has something new, and hears when that is archived.

Only acknowledgement handles are held, never payloads; the broker bounds their number.
"""

import asyncio
import time

import structlog

from schemas.bus import ARCHIVER
from schemas.keys import InvalidKey, SessionKey
from services.archiver.archive import Archive
from services.archiver.core import FILLER, Backlog, session_of
from services.archiver.health import StoreHealth
from services.archiver.listings import Listings
from services.archiver.metrics import WAITING
from services.runtime.bus import Bus
from services.runtime.dead_letters import bury
from services.runtime.errors import NOT_NOW, TooLarge
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.pull import Delivery, Pull, Silent

log = structlog.get_logger(__name__)

# Half of what the broker hands out before it waits for acknowledgements: from here on nothing waits for more.
PRESSURE = ARCHIVER.max_ack_pending // 2
KEEP_ALIVE = ARCHIVER.ack_wait / 4
AT_ONCE = 8
LAGGING = 0.2


class _Session:
    def __init__(self) -> None:
        self.backlog = Backlog(since=time.monotonic())
        self.held: dict[int, Delivery] = {}
        self.due = asyncio.Event()


class Trigger:
    """Archives a session at a turn's end, at 8 MB, or `flush_seconds` after its first event that is not archived."""

    def __init__(
        self, bus: Bus, archive: Archive, listings: Listings, health: StoreHealth, flush_seconds: float
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._listings = listings
        self._health = health
        self._flush_seconds = flush_seconds
        self._sessions: dict[SessionKey, _Session] = {}
        self._held = 0
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Work for ever; cancelling loses nothing, since what is not acknowledged comes again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_alive(), name="keep alive")
            while True:
                try:
                    async with Pull(self._bus.client, ARCHIVER.stream, ARCHIVER.name) as pull:
                        async for delivery in pull:
                            await self._hear(delivery, tasks)
                except Silent as silence:
                    log.info("pulling anew", consumer=ARCHIVER.name, reason=str(silence))
                    await asyncio.sleep(0.1)

    def hurry(self) -> None:
        """Let nothing wait for more."""
        for session in self._sessions.values():
            session.due.set()

    @property
    def idle(self) -> bool:
        """Whether everything that was heard of is archived."""
        return not self._sessions

    async def _hear(self, delivery: Delivery, tasks: asyncio.TaskGroup) -> None:
        try:
            key = session_of(delivery.subject)
        except InvalidKey as e:
            await self._bury(delivery, str(e))
            return
        if key == FILLER:
            await delivery.ack()
            return
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session()
            self._listings.prefetch(key)
            tasks.create_task(self._work_off(key, session), name=f"archive {key}")
        self._hold(session, delivery)

    def _hold(self, session: _Session, delivery: Delivery) -> None:
        session.backlog.heard(delivery.subject, delivery.sequence, len(delivery.data))
        self._held += delivery.sequence not in session.held
        delivery.data, delivery.headers = b"", {}
        session.held[delivery.sequence] = delivery
        WAITING.set(self._held)
        if session.backlog.due:
            session.due.set()
        if self._held >= PRESSURE:
            self.hurry()

    async def _work_off(self, key: SessionKey, session: _Session) -> None:
        while session.held:
            await self._until_due(session)
            session.due.clear()
            through = session.backlog.through
            session.backlog = Backlog(since=time.monotonic())
            archived = await self._health.until_done(str(key), lambda: self._bring_up(key, through))  # noqa: B023 (called before the loop goes on)
            await self._release(session, archived)
            if any(sequence <= through for sequence in session.held):
                await self._read_again_soon(session)
        del self._sessions[key]
        await self._summarise(key)

    async def _read_again_soon(self, session: _Session) -> None:
        # The replica that was read lags behind the one that told us.
        await asyncio.sleep(LAGGING)
        session.backlog.through = max(session.held)
        session.due.set()

    async def _until_due(self, session: _Session) -> None:
        try:
            async with asyncio.timeout(session.backlog.since + self._flush_seconds - time.monotonic()):
                await session.due.wait()
        except TimeoutError:
            return

    async def _bring_up(self, key: SessionKey, through: int) -> int:
        async with self._slots:
            return await self._archive.bring_up(key, through)

    async def _summarise(self, key: SessionKey) -> None:
        async with self._slots:
            await self._archive.summarise(key)

    async def _release(self, session: _Session, archived: int) -> None:
        for sequence in [sequence for sequence in session.held if sequence <= archived]:
            await session.held.pop(sequence).ack()
            self._held -= 1
        WAITING.set(self._held)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE)
            held = [delivery for session in self._sessions.values() for delivery in session.held.values()]
            for delivery in held:
                await delivery.working()

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        try:
            await bury(self._bus, "archiver", delivery, reason)
        except (TooLarge, *NOT_NOW):
            await delivery.retry(1.0)
        else:
            DEAD_LETTERS.labels("archiver").inc()
            await delivery.terminate()
