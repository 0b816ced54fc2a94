"""Which threads are sessions: remembered, else asked of the log, else of the thread itself in Slack."""

import asyncio

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


class Sessions:
    """Knows the threads that are sessions. Raises `Unavailable` and `SlackError` where it cannot be told now.

    The caller bounds the time.
    """

    def __init__(self, bus: Bus, api: SlackApi) -> None:
        self._bus = bus
        self._api = api
        self._summaries = Bucket(bus, SUMMARIES.name, Summary)
        self._known: Bounded[SessionKey, bool] = Bounded(MOST_KNOWN)
        self._strange: Bounded[SessionKey, bool] = Bounded(MOST_KNOWN, NOT_AGAIN)

    def remember(self, key: SessionKey) -> None:
        """The thread is a session, or will be one as soon as what was said there is stored."""
        self._known.put(key, True)

    async def stored(self, key: SessionKey) -> bool:
        """Whether the bus knows the session: by its log, or by its summary when the log is archived."""
        if self._known.get(key):
            return True
        said, summary = await asyncio.gather(
            self._bus.last(SESSIONS.name, f"session.{key}.in.*"),
            self._summaries.get(str(key)),
        )
        if said or summary.value:
            self.remember(key)
        return bool(said or summary.value)

    async def is_session(self, key: SessionKey, bot: str) -> bool:
        """Whether a reply in the thread counts: it is a session, or its mention has not been stored yet."""
        if await self.stored(key):
            return True
        if self._strange.get(key):
            return False
        if await self._mentioned(key, bot):
            self.remember(key)
            return True
        self._strange.put(key, True)
        return False

    async def thread_of(self, channel: str, ts: str) -> str | None:
        """Return the thread of a message, None when Slack does not know the message."""
        page = await self._page(channel, ts, 1)
        return str(page[0].get("thread_ts") or page[0].get("ts") or ts) if page else None

    async def _mentioned(self, key: SessionKey, bot: str) -> bool:
        messages = await self._page(key.channel, key.thread_ts, LOOKED_AT)
        return any(m.get("user") != bot and text.mentions(str(m.get("text") or ""), bot) for m in messages)

    async def _page(self, channel: str, ts: str, limit: int) -> list[Json]:
        try:
            return (await self._api.replies(channel, ts, limit=limit)).messages
        except SlackError as e:
            if e.retriable:
                raise
            return []
