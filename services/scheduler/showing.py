"""When a session's status is worth a write: its rest at once, what it does once it has been at work for a moment."""

import asyncio

from schemas.buckets import Turns
from schemas.keys import SessionKey
from services.scheduler.agenda import Agenda
from services.scheduler.core import Held
from services.scheduler.summaries import Summaries

# A short turn with a warm worker is over within it; nobody who lists sessions sees the difference.
MOMENT_SECONDS = 0.25


class Showing:
    """Shows sessions at a glance.

    Nothing of it is kept. A rest that was not shown is told again by the message that brought it, which is not acknowledged
    by then; and whoever starts looks at every session that is at work.
    """

    def __init__(self, summaries: Summaries, agenda: Agenda) -> None:
        self._summaries = summaries
        self._agenda = agenda
        self._moments: dict[SessionKey, asyncio.TimerHandle] = {}
        self._lasting: set[SessionKey] = set()

    async def show(self, key: SessionKey, memory: Turns, held: Held | None) -> None:
        """Show what the session is doing, unless it has just begun to do anything. Raises `Unavailable`."""
        if memory.idle:
            self._rest(key)
        elif key not in self._lasting:
            self._begin(key)
            return
        await self._summaries.reflect(key, memory, held)

    def _begin(self, key: SessionKey) -> None:
        if key not in self._moments:
            loop = asyncio.get_running_loop()
            self._moments[key] = loop.call_later(MOMENT_SECONDS, self._look_again, key)

    def _look_again(self, key: SessionKey) -> None:
        del self._moments[key]
        self._lasting.add(key)
        self._agenda.soon(key)

    def _rest(self, key: SessionKey) -> None:
        self._lasting.discard(key)
        if moment := self._moments.pop(key, None):
            moment.cancel()
