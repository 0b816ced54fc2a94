"""What the agent remembers: its own conversation where it can be restored, else what was said, to read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from schemas.events import Notice
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.tasks import drop
from services.worker.archive import Archived, Unreadable
from services.worker.earlier import Earlier
from services.worker.session_log import SessionLog
from services.worker.state import Conversations, LogStateStore, restore

log = structlog.get_logger(__name__)

Tell = Callable[[str], None]
T = TypeVar("T")

AGAIN_SECONDS = 0.5
# An archive that answers, and has much to say, is told of as well.
SLOW_SECONDS = 5.0
WAITING = "is waiting for the archive..."
ARCHIVE_AWAY = (
    "The archive does not answer, or the log; the turn waits, so that nothing of the conversation is missing."
)


class Recall:
    """The memory of one session's agent. It waits for an archive that is away, and says so."""

    def __init__(self, bus: Bus, log: SessionLog, agent: str) -> None:
        self._bus = bus
        self._log = log
        self._key: SessionKey = log.key
        self._agent = agent
        self._archived: Archived | None = None
        self._restored: LogStateStore | None = None
        self._reading: asyncio.Task[Conversations] | None = None
        self._told = False
        self.earlier = ""

    @property
    def store(self) -> LogStateStore:
        """Where the agent's conversation is kept: restored, or empty before `restore`."""
        return self._restored or self._empty()

    def begin(self) -> asyncio.Task[Conversations]:
        """Read the conversation as it was when the session was claimed, unless that has begun."""
        if self._reading is None:
            self._archived = self._archived or Archived(self._bus, self._key, "state")
            reading = restore(self._bus, self._archived, self._log.claimed, self._log.follows)
            self._reading = asyncio.create_task(reading, name=f"conversation {self._key}")
        return self._reading

    async def close(self) -> None:
        """Leave nothing of what `begin` began and nobody waited for."""
        reading, self._reading, self._archived = self._reading, None, None
        if reading is not None:
            await drop(reading, Unavailable, Unreadable)  # which whoever reads again hears

    async def restore(self, turn: int, tell: Tell) -> None:
        """Read the conversation, once; where it is no use, say so and let the agent read what was said."""
        if self._restored is not None:
            return
        try:
            found = await self._patiently(self._read, turn, tell)
        except Unreadable as e:
            await self.begin_anew(turn, str(e), tell)
            return
        finally:
            self._archived = None
        if found.entries and found.agent != self._agent:
            why = f"Another agent ({found.agent}) worked in this thread before."
            await self.begin_anew(turn, why, tell)
        else:
            self._restored = LogStateStore(self._bus, self._log, self._agent, found)

    async def _read(self) -> Conversations:
        try:
            return await self.begin()
        finally:
            self._reading = None

    async def begin_anew(self, turn: int, reason: str, tell: Tell) -> None:
        """Say that the agent's own conversation is not resumed, and let it read what was said instead."""
        earlier = Earlier(self._bus, self._key)
        self.earlier = await self._patiently(lambda: earlier.read(turn), turn, tell)
        told = f"{reason} The agent goes on from the thread's transcript."
        await self._log.event(Notice(turn=turn, level="warning", text=told))
        self._restored = self._empty()

    def _empty(self) -> LogStateStore:
        return LogStateStore(self._bus, self._log, self._agent, Conversations())

    async def _patiently(self, ask: Callable[[], Awaitable[T]], turn: int, tell: Tell) -> T:
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, tell, WAITING)
        try:
            return await self._until_answered(ask, turn, tell)
        finally:
            slow.cancel()

    async def _until_answered(self, ask: Callable[[], Awaitable[T]], turn: int, tell: Tell) -> T:
        while True:
            try:
                return await ask()
            except Unavailable as e:
                log.warning("the archive is away", session=str(self._key), error=str(e))
                tell(WAITING)
                if not self._told:
                    self._told = True
                    await self._log.event(Notice(turn=turn, level="warning", text=ARCHIVE_AWAY))
                await asyncio.sleep(AGAIN_SECONDS)
