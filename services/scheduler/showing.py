"""Which status of a session is worth a write: its rest at once, any other once it has lasted a moment."""

import asyncio

from schemas.buckets import Turns
from schemas.keys import SessionKey
from services.scheduler.agenda import Agenda
from services.scheduler.core import Held
from services.scheduler.summaries import Summaries, status_of

# Most turns get their worker within it, and a worker that waits in its session the next turn.
MOMENT_SECONDS = 0.25


class Passing:
    """A status that may be over in a moment."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.lasted = False
        self.timer: asyncio.TimerHandle | None = None


class Showing:
    """Shows sessions at a glance. What was not shown yet is lost with the process: the next one looks at all that are at work."""

    def __init__(self, summaries: Summaries, agenda: Agenda) -> None:
        self._summaries = summaries
        self._agenda = agenda
        self._passing: dict[SessionKey, Passing] = {}

    async def show(self, key: SessionKey, memory: Turns, held: Held | None) -> None:
        """Show what the session is doing, where that lasts. Raises `Unavailable`."""
        if memory.idle:
            self._forget(key)
        elif not self._lasts(key, status_of(memory, held)):
            return
        await self._summaries.reflect(key, memory, held)

    def _lasts(self, key: SessionKey, status: str) -> bool:
        known = self._passing.get(key)
        if known is None or known.status != status:
            self._forget(key)
            self._passing[key] = known = Passing(status)
            known.timer = asyncio.get_running_loop().call_later(MOMENT_SECONDS, self._look_again, key, known)
        return known.lasted

    def _look_again(self, key: SessionKey, passing: Passing) -> None:
        passing.lasted = True
        self._agenda.soon(key)

    def _forget(self, key: SessionKey) -> None:
        known = self._passing.pop(key, None)
        if known and known.timer:
            known.timer.cancel()
