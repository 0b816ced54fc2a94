"""What the agent is told beside its task: the channel's instructions and the person's."""

import asyncio

import structlog

from schemas.base import MalformedMessage
from schemas.buckets import Preferences
from schemas.bus import PREFERENCES
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

log = structlog.get_logger(__name__)


class Instructions:
    """Reads preferences."""

    def __init__(self, bus: Bus) -> None:
        self._preferences = Bucket(bus, PREFERENCES.name, Preferences)

    async def of(self, key: SessionKey, person: Person) -> tuple[str, ...]:
        """Return the channel's instructions, then the person's, as far as there are any. Raises `Unavailable`."""
        found = await asyncio.gather(*(self._one(key.team, each) for each in (key.channel, person.id)))
        return tuple(filter(None, found))

    async def _one(self, team: str, of: str) -> str:
        try:
            preferences = (await self._preferences.get(Preferences.key(team, of))).value
        except MalformedMessage as e:
            log.warning("preferences cannot be read", team=team, of=of, error=str(e))
            return ""
        return preferences.instructions if preferences else ""
