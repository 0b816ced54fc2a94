"""Which threads are sessions: remembered, else asked of the log, else of the thread itself in Slack."""

import asyncio

import msgspec

from schemas.buckets import Summary
from schemas.bus import SESSIONS, SUMMARIES
from schemas.keys import SessionKey
from services.ingress import text
from services.ingress.bounded import Bounded
from services.ingress.slack_api import Json, SlackApi, SlackError
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

MOST_KNOWN = 50_000
# How long a thread without a mention is not looked up again; one that is mentioned here meanwhile is remembered.
NOT_AGAIN = 30.0
# A mention further down starts a session too; one page of a thread is what a reply may cost.
LOOKED_AT = 100


class Known(msgspec.Struct, frozen=True):
    """A thread that is a session: from the message at `since` on, all of it where that is not known; `begun` once stored."""

    since: str = ""
    begun: bool = False


class Sessions:
    """Knows the threads that are sessions. Raises `Unavailable` and `SlackError` where it cannot be told now.

    The caller bounds the time.
    """

    def __init__(self, bus: Bus, api: SlackApi) -> None:
        self._bus = bus
        self._api = api
        self._summaries = Bucket(bus, SUMMARIES.name, Summary)
        self._known: Bounded[SessionKey, Known] = Bounded(MOST_KNOWN)
        self._strange: Bounded[SessionKey, bool] = Bounded(MOST_KNOWN, NOT_AGAIN)

    def announce(self, key: SessionKey, since: str) -> None:
        """The thread will be a session as soon as the message at `since` is stored."""
        known = self._known.get(key) or Known(since=since)
        self._known.put(key, msgspec.structs.replace(known, since=min(known.since, since)))

    def remember(self, key: SessionKey) -> None:
        """The thread is a session."""
        known = self._known.get(key) or Known()
        self._known.put(key, msgspec.structs.replace(known, begun=True))

    async def stored(self, key: SessionKey) -> bool:
        """Whether the session is there, or about to be."""
        return self._known.get(key) is not None or await self.begun(key)

    async def begun(self, key: SessionKey) -> bool:
        """Whether the bus knows the session: by its log, or by its summary when the log is archived."""
        if (known := self._known.get(key)) and known.begun:
            return True
        said, summary = await asyncio.gather(
            self._bus.last(SESSIONS.name, f"session.{key}.in.*"),
            self._summaries.get(str(key)),
        )
        if said or summary.value:
            self.remember(key)
        return bool(said or summary.value)

    async def is_session(self, key: SessionKey, bot: str, ts: str) -> bool:
        """Whether the reply at `ts` counts: the thread is a session, or its mention has not been stored yet.

        What was said before the mention, and came here behind it, was not said to anybody here.
        """
        if not await self.stored(key) and not self._strange.get(key):
            since = await self._mentioned(key, bot)
            if since:
                self.announce(key, since)
            else:
                self._strange.put(key, True)
        known = self._known.get(key)
        return known is not None and ts > known.since

    async def thread_of(self, channel: str, ts: str) -> str | None:
        """Return the thread of a message, None when Slack does not know the message."""
        page = await self._page(channel, ts, 1)
        return str(page[0].get("thread_ts") or page[0].get("ts") or ts) if page else None

    async def _mentioned(self, key: SessionKey, bot: str) -> str:
        """Return the `ts` of the thread's first mention, empty when nobody mentioned the bot there."""
        messages = await self._page(key.channel, key.thread_ts, LOOKED_AT)
        mentions = (
            str(message.get("ts"))
            for message in messages
            if message.get("user") != bot and text.mentions(str(message.get("text") or ""), bot)
        )
        return next(mentions, "")

    async def _page(self, channel: str, ts: str, limit: int) -> list[Json]:
        try:
            return (await self._api.replies(channel, ts, limit=limit)).messages
        except SlackError as e:
            if e.retriable:
                raise
            return []
