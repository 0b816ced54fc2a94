"""Which threads are sessions: remembered, else asked of the log, else of the thread itself in Slack."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from schemas.base import MalformedMessage
from schemas.buckets import Summary
from schemas.bus import SESSIONS, SUMMARIES
from schemas.inputs import INPUTS, Said
from schemas.keys import SessionKey, ts_of
from services.ingress.bounded import Bounded
from services.ingress.slack_api import Json, SlackApi, SlackError
from services.runtime.asking import Stored
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

MOST_KNOWN = 50_000
# How long a thread without a mention is not looked up again; one that is mentioned here meanwhile is remembered.
NOT_AGAIN = 30.0
# A mention further down starts a session too; one page of what a thread has of late is what a reply may cost.
LOOKED_AT = 100
# Slack brings what was not taken again at once, after 1 minute and after 5 more; after that, nobody took it.
STILL_COMES = 600.0


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
        """What was announced is stored."""
        if known := self._known.get(key):
            self._known.put(key, msgspec.structs.replace(known, begun=True))

    async def stored(self, key: SessionKey) -> bool:
        """Whether the session is there, or about to be."""
        return self._known.get(key) is not None or await self.begun(key)

    async def begun(self, key: SessionKey) -> bool:
        """Whether the bus knows the session: by its log, or by its summary when the log is archived."""
        if (known := self._known.get(key)) and known.begun:
            return True
        first, summary = await asyncio.gather(
            self._bus.following(SESSIONS.name, f"session.{key}.in.*", 0),
            self._summaries.get(str(key)),
        )
        if first or summary.value:
            self._known.put(key, Known(since=_beginning(key, first), begun=True))
        return bool(first or summary.value)

    async def is_session(self, key: SessionKey, ts: str, mentions: Callable[[Json], bool]) -> bool:
        """Whether the reply at `ts` counts: the thread is a session, or its mention has not been stored yet.

        What was said before the mention, and came here behind it, was not said to anybody here. `mentions` tells of a
        message in Slack's thread whether it may begin a session.
        """
        # One that is announced may have begun long before.
        if not (await self.begun(key) or self._known.get(key) or self._strange.get(key)):
            since = await self._mentioned(key, mentions)
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

    async def _mentioned(self, key: SessionKey, mentions: Callable[[Json], bool]) -> str:
        """Return the `ts` of the thread's first mention that may still come, empty when there is none."""
        oldest = f"{time.time() - STILL_COMES:.6f}"
        messages = await self._page(key.channel, key.thread_ts, LOOKED_AT, oldest)
        found = (str(each["ts"]) for each in messages if str(each.get("ts")) > oldest and mentions(each))
        return next(found, "")

    async def _page(self, channel: str, ts: str, limit: int, oldest: str | None = None) -> list[Json]:
        try:
            return (await self._api.replies(channel, ts, limit=limit, oldest=oldest)).messages
        except SlackError as e:
            if e.retriable:
                raise
            return []


def _beginning(key: SessionKey, first: Stored | None) -> str:
    """Return the `ts` of the message that began the session, empty where the log does not hold it any more."""
    id_ = first.subject.rpartition(".")[2] if first else ""
    if first is None or id_ == key.thread:
        return ts_of(id_)
    try:
        message = INPUTS.decode(first.data)
    except MalformedMessage:
        return ""
    return ts_of(id_) if isinstance(message, Said) and message.earlier else ""
