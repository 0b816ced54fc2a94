"""One Slack stream: a message that is written while it is read, and lives about five minutes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, SlackError
from services.ingress.writer.acts import STEP
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.pen import ChannelGone, Pen
from services.ingress.writer.split import Fence, fence_after

log = structlog.get_logger(__name__)

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
# Slack's words for a stream that takes nothing more, for one that is full, and for one that the person stopped.
DEAD = frozenset({"message_not_in_streaming_state", "message_not_found", "streaming_state_conflict"})
FULL = frozenset({"msg_too_long", "msg_blocks_too_long"})
STOPPED = "stopped_by_user"
ENDED = DEAD | {STOPPED}
# Slack cuts a message's text at 40,000 characters.
MOST_TEXT = 35_000


class Stream:
    """A stream that has begun. `text` and `cards` are what it shows, `since` the loop's time of its start."""

    def __init__(self, pen: Pen, key: SessionKey, turn: int, ts: str, chunks: list[Json]) -> None:
        self._pen = pen
        self._key = key
        self._turn = turn
        self.ts = ts
        self.since = asyncio.get_running_loop().time()
        self.text = text_of(chunks)
        self.cards: dict[str, Json] = {}
        self._note(chunks)
        self._ending = asyncio.Lock()
        self._over = False

    @classmethod
    async def start(
        cls, pen: Pen, key: SessionKey, turn: int, recipient: str, chunks: list[Json]
    ) -> "Stream":
        """Start a stream with its first chunks, its budget taken already. Raises `SlackError`, `ChannelGone`."""
        arguments: Json = {
            "channel": key.channel,
            "thread_ts": key.thread_ts,
            "chunks": chunks,
            "task_display_mode": "timeline",
        }
        # In a direct conversation it is clear for whom the stream is; elsewhere Slack demands to know.
        if not key.channel.startswith("D"):
            arguments |= {"recipient_user_id": recipient, "recipient_team_id": key.team}
        answer = await pen.once(START, key.team, key.channel, arguments)
        return cls(pen, key, turn, str(answer["ts"]), chunks)

    @property
    def fence(self) -> Fence:
        """The code block that is open at the end of the text."""
        return fence_after(self.text)

    async def append(self, chunks: list[Json]) -> None:
        """Add chunks, their budget taken already. Raises `SlackError`, `ChannelGone`."""
        # Cards first: an answer may get lost whose card is shown.
        self._note(chunks)
        await self._pen.once(APPEND, self._key.team, self._key.channel, self._place | {"chunks": chunks})
        self.text += text_of(chunks)

    async def stop(self, chunks: list[Json]) -> None:
        """End it as a piece of what was shown live, once; that it cannot be ended any more is no error."""
        async with self._ending:
            if not self._over:
                await self._stop([*chunks, *self._left("pending")])
            self._over = True

    def _note(self, chunks: list[Json]) -> None:
        self.cards |= {chunk["id"]: chunk for chunk in chunks if chunk["type"] == "task_update"}

    def _left(self, tool: str) -> list[Json]:
        """Return what changes the cards that would go on for ever in a stream that ends: `tool` is a tool's last status."""
        return [
            {
                "type": "task_update",
                "id": card["id"],
                "title": card["title"],
                "status": "pending" if card["id"].startswith(STEP) else tool,
            }
            for card in self.cards.values()
            if card["status"] == "in_progress"
        ]

    async def _stop(self, chunks: list[Json]) -> None:
        arguments = self._place | {
            "chunks": chunks or None,
            "metadata": metadata(self._key, self._turn, Mark("live", self._turn)),
        }
        try:
            await self._pen.due(STOP, self._key.team, self._key.channel, arguments)
        except (SlackError, ChannelGone) as e:
            log.info("a stream could not be stopped", ts=self.ts, error=str(e))

    async def finish(
        self,
        chunks: list[Json],
        footer: list[Json],
        found: Json,
        unclear: Callable[[], Awaitable[Json | None]],
    ) -> None:
        """End it as the turn's final message, with the metadata `found`. Raises `SlackError`, `ChannelGone`."""
        self._note(chunks)
        whole = [*chunks, *self._left("error")]
        arguments = self._place | {"chunks": whole or None, "blocks": footer, "metadata": found}
        try:
            await self._pen.due(STOP, self._key.team, self._key.channel, arguments, unclear=unclear)
        except SlackError as e:
            self._over = e.error in ENDED
            raise
        self._over = True

    @property
    def _place(self) -> Json:
        return {"channel": self._key.channel, "ts": self.ts}


def text_of(chunks: list[Json]) -> str:
    """Return the text in `chunks`."""
    return "".join(chunk["text"] for chunk in chunks if chunk["type"] == "markdown_text")
