"""Who people are and what channels are, as Slack tells: asked once, remembered for an hour."""

import asyncio
import contextlib

from schemas.people import Person
from services.ingress.behind import Behind
from services.ingress.bounded import Bounded
from services.ingress.slack_api import Json, SlackApi, SlackError

MOST = 20_000
HOUR = 3600.0
# Slack gives three seconds to answer an event; commits and prompts are better with a name than without.
NAME_WITHIN = 0.5


class Directory:
    """Names within a moment or not at all; everything else when asked, raising `SlackError`."""

    def __init__(self, api: SlackApi, behind: Behind) -> None:
        self._api = api
        self._behind = behind
        self._names: Bounded[str, str] = Bounded(MOST, HOUR)
        self._lookups: dict[str, asyncio.Event] = {}
        self._people: Bounded[str, Json] = Bounded(MOST, HOUR)
        self._private: Bounded[str, bool] = Bounded(MOST, HOUR)

    def known(self, person: Person) -> Person:
        """Return `person` with the name that is known now."""
        return Person(id=person.id, name=self._names.get(person.id) or person.name)

    async def named(self, person: Person) -> Person:
        """Return `person` with their name; the first lookup of an unknown one is waited for, but not for long."""
        if not person.name and self._names.get(person.id) is None:
            await self._looked_up(person.id)
        return self.known(person)

    async def _looked_up(self, user: str) -> None:
        """Give one lookup, shared by all who ask meanwhile, a moment; it goes on behind when it takes longer."""
        found = self._lookups.get(user)
        if found is None:
            found = asyncio.Event()
            if not self._behind.start(self._learn(user, found), f"name of {user}"):
                return
            self._lookups[user] = found
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NAME_WITHIN):
                await found.wait()

    async def outsider(self, user: str, home: str) -> str | None:
        """Return the workspace of a person from another company, None for one of the workspace `home`."""
        info = await self._person(user)
        team = str(info.get("team_id") or "")
        foreign = bool(info.get("is_stranger")) or (team != home and not info.get("enterprise_user"))
        return team if foreign else None

    async def private(self, channel: str) -> bool:
        """Whether only those invited see the channel."""
        known = self._private.get(channel)
        if known is None:
            info = await self._api.conversation_info(channel)
            known = bool(info.get("is_private") or info.get("is_mpim"))
            self._private.put(channel, known)
        return known

    async def _person(self, user: str) -> Json:
        info = self._people.get(user)
        if info is None:
            info = await self._api.user_info(user)
            self._people.put(user, info)
        return info

    async def _learn(self, user: str, found: asyncio.Event) -> None:
        name = ""
        try:
            info = await self._person(user)
            profile = info.get("profile") or {}
            name = str(profile.get("real_name") or profile.get("display_name") or info.get("name") or "")
        except SlackError:
            # A bot has no user, and a refusal may pass: the id stands for the name until it is forgotten.
            pass
        finally:
            self._names.put(user, name)
            self._lookups.pop(user, None)
            found.set()
