"""The open points of a decision, asked of whoever knows: the log, Slack's threads, Slack's directory."""

import msgspec

from schemas.inputs import Said
from schemas.keys import SessionKey, ts_of
from services.ingress import access
from services.ingress.access import Actor, Rules
from services.ingress.decisions import Ignore, Refuse, Store
from services.ingress.directory import Directory
from services.ingress.sessions import Sessions
from services.ingress.slack_api import SlackError


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
        said = isinstance(store.message, Said)
        if not store.only_in_session:
            if said and not store.refusal:
                self._sessions.announce(store.key, ts_of(store.id))
            return True
        # Only what somebody says can be early; a stop or an edit of something never stored has nothing to act on.
        if said:
            return await self._sessions.is_session(store.key, bot, ts_of(store.id))
        return await self._sessions.stored(store.key)

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
