"""A turn's live message: one Slack stream at a time, which costs nothing but live text when it dies."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, SlackError
from services.ingress.writer import blocks
from services.ingress.writer.acts import Act, Card, Plan, Text
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.metrics import give_up
from services.ingress.writer.outbox import Outbox
from services.ingress.writer.pen import ChannelGone, Pen, refused_for_pace
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.split import fence_after

log = structlog.get_logger(__name__)

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
# Slack says these when a stream takes nothing more; the person's own Stop ends live text for this turn.
DEAD = frozenset({"message_not_in_streaming_state", "message_not_found", "streaming_state_conflict"})
FULL = frozenset({"msg_too_long", "msg_blocks_too_long"})
STOPPED = "stopped_by_user"
# Slack cuts a message's text at 40,000 characters.
MOST_TEXT = 35_000
MOST_STREAMS = 200


class Stream(msgspec.Struct):
    """One streaming message: when it began, and the text that Slack has taken."""

    ts: str
    since: float
    text: str = ""


class Live:
    """Shows a turn while it runs. `show` never waits; `finish` makes the stream the final message if it can."""

    def __init__(
        self,
        pen: Pen,
        settings: WriterSettings,
        key: SessionKey,
        turn: int,
        recipient: str,
        *,
        spawn: Callable[[Awaitable[None]], None],
        posted: Callable[[], None],
    ) -> None:
        self._pen = pen
        self._settings = settings
        self._key = key
        self._turn = turn
        self._recipient = recipient
        self._spawn = spawn
        self._posted = posted
        self._outbox = Outbox()
        self._stream: Stream | None = None
        self._streams = 0
        # One stream carries everything so far: only then can it become the final message.
        self._whole = True
        self._muted = False
        # A stream may have begun whose place nobody told us.
        self.lost = False
        self._running = False
        self._last = -1e9
        self._lock = asyncio.Lock()

    def mute(self) -> None:
        """Show nothing live from here on; the final message is posted."""
        self._muted = True

    def broken(self) -> None:
        """An earlier stream of this turn exists that is not ours to end."""
        self._whole = False

    def show(self, act: Act) -> None:
        """Add a piece of text, a card or the plan's title."""
        match act:
            case Text():
                self._outbox.text(act.text, closed=act.closed)
            case Card():
                self._outbox.card(blocks.card(act))
            case Plan():
                self._outbox.plan(blocks.plan(act))
        self._wake()

    def _wake(self) -> None:
        if not self._running and not self._muted and self._outbox:
            self._running = True
            self._spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._outbox and not self._muted:
                await asyncio.sleep(max(0.0, self._last + self._settings.append_every - _now()))
                method = APPEND if self._stream else START
                if wait := self._pen.spare(method, self._key.team, self._key.channel):
                    await asyncio.sleep(wait)
                    continue
                async with self._lock:
                    await self._send()
        finally:
            self._running = False

    async def _send(self) -> None:
        if self._muted or not self._outbox:
            return
        self._last = _now()
        if self._stream and self._too_old(self._stream):
            await self._rotate()
            return
        chunks = self._outbox.take()
        try:
            await (self._append(self._stream, chunks) if self._stream else self._start(chunks))
        except SlackError as e:
            self._failed(e, chunks)
        except ChannelGone:
            self._muted = True

    async def _start(self, chunks: list[Json]) -> None:
        direct = self._key.channel.startswith("D")
        arguments: Json = {
            "channel": self._key.channel,
            "thread_ts": self._key.thread_ts,
            "chunks": chunks,
            "task_display_mode": "timeline",
        }
        if not direct:
            arguments |= {"recipient_user_id": self._recipient, "recipient_team_id": self._key.team}
        self._streams += 1
        answer = await self._pen.once(START, self._key.team, self._key.channel, arguments)
        self._stream = Stream(str(answer["ts"]), _now(), _text_of(chunks))
        self._posted()
        asyncio.get_running_loop().call_later(self._settings.rotate_after, self._grew_old, self._stream)

    async def _append(self, stream: Stream, chunks: list[Json]) -> None:
        arguments: Json = {"channel": self._key.channel, "ts": stream.ts, "chunks": chunks}
        await self._pen.once(APPEND, self._key.team, self._key.channel, arguments)
        stream.text += _text_of(chunks)

    def _failed(self, error: SlackError, chunks: list[Json]) -> None:
        """Decide what becomes of the stream and of what was not acknowledged."""
        if refused_for_pace(error):
            self._outbox.put_back(chunks)
            return
        self._whole = False
        if error.error in DEAD | FULL:
            self._outbox.put_back(chunks, reopened=self._lose())
        elif error.retriable:
            # Carried out or not, nobody knows: the text may be missing, but it never stands there twice.
            if self._stream is None:
                self.lost = self._muted = True
        else:
            self._muted = True
        if error.error != STOPPED:
            give_up("live", error.error)
        if self._streams >= MOST_STREAMS:
            self._muted = True

    def _lose(self) -> str:
        stream, self._stream = self._stream, None
        self._whole = False
        return fence_after(stream.text).opener if stream else ""

    def _too_old(self, stream: Stream) -> bool:
        return _now() - stream.since >= self._settings.rotate_after or len(stream.text) > MOST_TEXT

    def _grew_old(self, stream: Stream) -> None:
        if stream is self._stream and not self._muted:
            self._spawn(self._rotate_locked(stream))

    async def _rotate_locked(self, stream: Stream) -> None:
        async with self._lock:
            if stream is self._stream:
                await self._rotate()
        self._wake()

    async def rotate(self) -> None:
        """End the stream, so that what follows stands below what is posted now."""
        async with self._lock:
            if self._stream:
                await self._rotate()

    async def _rotate(self) -> None:
        stream = self._stream
        if stream is None:
            return
        closing = fence_after(stream.text).closing
        self._outbox.put_back([], reopened=self._lose())
        await self._stop_quietly(stream, [blocks.text_chunk(f"\n{closing}")] if closing else [])

    async def _stop_quietly(self, stream: Stream, chunks: list[Json]) -> None:
        arguments: Json = {
            "channel": self._key.channel,
            "ts": stream.ts,
            "chunks": chunks or None,
            "metadata": metadata(self._key, self._turn, Mark("live", self._turn)),
        }
        try:
            await self._pen.due(STOP, self._key.team, self._key.channel, arguments)
        except (SlackError, ChannelGone) as e:
            log.info("a stream could not be stopped", ts=stream.ts, error=str(e))

    async def finish(
        self,
        lead: str,
        text: str,
        footer: list[Json],
        found: Json,
        unclear: Callable[[], Awaitable[Json | None]],
    ) -> bool:
        """Make the stream the final message, carrying `lead` and all of `text`.

        False when the final message must be posted.
        """
        self._muted = True
        async with self._lock:
            stream = self._stream
            if stream is None:
                return False
            chunks = self._outbox.take_all()
            missing = [lead] if _carries(stream.text + _text_of(chunks), text) else [lead, text]
            chunks += [blocks.text_chunk(f"\n\n{part}") for part in missing if part]
            fits = (
                len(stream.text) + len(_text_of(chunks)) <= MOST_TEXT
                and len(_text_of(chunks)) <= Outbox.most_text
            )
            if not (self._whole and fits):
                self._spawn(self._stop_quietly(stream, []))
                return False
            return await self._stop_as_final(stream, chunks, footer, found, unclear)

    async def _stop_as_final(
        self,
        stream: Stream,
        chunks: list[Json],
        footer: list[Json],
        found: Json,
        unclear: Callable[[], Awaitable[Json | None]],
    ) -> bool:
        arguments: Json = {
            "channel": self._key.channel,
            "ts": stream.ts,
            "chunks": chunks or None,
            "blocks": footer,
            "metadata": found,
        }
        try:
            await self._pen.due(STOP, self._key.team, self._key.channel, arguments, unclear=unclear)
        except SlackError as e:
            log.info("the stream did not become the final message", ts=stream.ts, error=e.error)
            if e.error not in DEAD | {STOPPED}:
                self._spawn(self._stop_quietly(stream, []))
            return await unclear() is not None
        return True

    async def close(self) -> None:
        """End the stream without an end of the turn: somebody else goes on."""
        self._muted = True
        async with self._lock:
            if self._stream:
                stream, self._stream = self._stream, None
                await self._stop_quietly(stream, [])


def _text_of(chunks: list[Json]) -> str:
    return "".join(chunk["text"] for chunk in chunks if chunk["type"] == "markdown_text")


def _carries(shown: str, text: str) -> bool:
    return " ".join(text.split()) in " ".join(shown.split())


def _now() -> float:
    return asyncio.get_running_loop().time()
