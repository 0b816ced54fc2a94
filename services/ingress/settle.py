"""The open points of a decision, asked of whoever knows: the log, Slack's threads, Slack's directory."""

import msgspec

from schemas.inputs import Said
from schemas.keys import SessionKey, ts_of
from services.ingress import access, text
from services.ingress.access import Actor, Rules
from services.ingress.decisions import Ignore, Refuse, Store
from services.ingress.directory import Directory
from services.ingress.sessions import Sessions
from services.ingress.slack_api import Json, SlackError


class Settle:
    """Makes a `Store` definite. Raises `Unavailable` or `SlackError` where that is not possible now."""

    def __init__(self, sessions: Sessions, directory: Directory, rules: Rules) -> None:
        self._sessions = sessions
        self._directory = directory
        self._rules = rules

    async def settle(self, store: Store, bot: str) -> Store | Refuse | Ignore:
        """Return `store` without open points, or why nothing is to be done."""
        if store.find_thread:
            thread = await self._sessions.thread_of(store.key.channel, store.key.thread_ts)
            if thread is None:
                return Ignore("unknown_message")
            key = SessionKey.of_thread(store.key.team, store.key.channel, thread)
            store = msgspec.structs.replace(
                store, key=key, place=msgspec.structs.replace(store.place, thread_ts=thread)
            )
        if not await self._counts(store, bot):
            return _elsewhere(store)
        if store.check_outsider and await self._unwelcome(store):
            return Ignore("outsider")
        if store.check_private and not store.refusal and await self._directory.private(store.place.channel):
            return msgspec.structs.replace(store, refusal=self._refusal_in_private(store))
        return store

    async def _counts(self, store: Store, bot: str) -> bool:
        if not store.only_in_session:
            return True
        # Only what somebody says can be early; a stop or an edit of something never stored has nothing to act on.
        if not isinstance(store.message, Said):
            return await self._sessions.stored(store.key)

        def mentions(message: Json) -> bool:
            return text.mentions(str(message.get("text") or ""), bot) and self._welcome(store, message)

        return await self._sessions.is_session(store.key, ts_of(store.id), mentions)

    def _welcome(self, store: Store, message: Json) -> bool:
        """Whether the author of a message of Slack's may begin a session; of whom more has to be asked may not."""
        user, home = str(message.get("user") or ""), message.get("user_team") or message.get("team")
        if message.get("bot_id") or home not in {None, store.key.team}:
            return False
        place, team = store.place.channel, store.key.team
        actor = Actor(user=user, channel=place, team=team, kind=access.kind_of(place, None))
        return bool(user) and not access.refusal(self._rules, actor)

    async def _unwelcome(self, store: Store) -> bool:
        try:
            team = await self._directory.outsider(store.place.user, store.key.team)
        except SlackError as e:
            if e.retriable:
                raise
            return True
        return team is not None and not access.outsider_allowed(self._rules, team)

    def _refusal_in_private(self, store: Store) -> str:
        actor = Actor(user=store.place.user, channel=store.place.channel, team=store.key.team, kind="private")
        return access.refusal(self._rules, actor)


def _elsewhere(store: Store) -> Refuse | Ignore:
    if store.otherwise and not store.refusal:
        return Refuse(reason="no_session", sentence=store.otherwise, place=store.place, id=store.id)
    return Ignore("no_session")
