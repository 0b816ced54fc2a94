"""The bucket `ratelimits`: who started which turns inside the window."""

from datetime import datetime

from schemas.base import now
from schemas.buckets import RateWindow
from schemas.bus import RATELIMITS
from schemas.keys import SessionKey, token
from schemas.people import Person
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus
from services.runtime.errors import Conflict
from services.scheduler import rate
from services.scheduler.settings import SchedulerSettings

AT_HAND = 10_000


class RateLimits:
    """Counts the turns that people start, exactly, whichever replica counts."""

    def __init__(self, bus: Bus, rules: SchedulerSettings) -> None:
        self._bucket = Bucket(bus, RATELIMITS.name, RateWindow)
        self._rules = rules
        self._known: dict[str, Entry[RateWindow]] = {}

    async def count(self, key: SessionKey, user: Person, turn: int) -> datetime | None:
        """Count the turn; return None, or when the next slot is free where there is none now. Raises `Unavailable`."""
        name = _window_of(key, user)
        while True:
            entry = await self._entry(name)
            window = entry.value or RateWindow()
            counted, retry_at = rate.count(
                window, f"{key}.{turn}", now(), self._rules.turns_per_window, self._rules.window
            )
            if retry_at and name in self._known:
                # Another replica may have given a slot back: a refusal is always on the broker's word.
                del self._known[name]
                continue
            if counted == window or await self._written(name, counted, entry.revision):
                return retry_at

    async def give_back(self, key: SessionKey, user: Person, turn: int) -> None:
        """Take the turn out of the window again. Raises `Unavailable`."""
        name = _window_of(key, user)
        while True:
            entry = await self._bucket.get(name)
            window = entry.value or RateWindow()
            returned = rate.give_back(window, f"{key}.{turn}")
            if returned == window or await self._written(name, returned, entry.revision):
                return

    async def _entry(self, name: str) -> Entry[RateWindow]:
        return self._known.get(name) or await self._bucket.get(name)

    async def _written(self, name: str, window: RateWindow, revision: int) -> bool:
        self._known.pop(name, None)
        try:
            written = await self._bucket.put(name, window, revision)
        except Conflict:
            return False
        self._known[name] = Entry(name, window, written)
        if len(self._known) > AT_HAND:
            self._known.pop(next(iter(self._known)))
        return True


def _window_of(key: SessionKey, user: Person) -> str:
    return f"{key.team}.{token(user.id)}"
