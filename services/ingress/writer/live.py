"""A turn's live message: one stream at a time, which costs nothing but live text when it dies."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, SlackError
from services.ingress.writer import blocks
from services.ingress.writer.acts import Act, Card, Plan, Text
from services.ingress.writer.last import last_chunks
from services.ingress.writer.ledger import carries
from services.ingress.writer.metrics import give_up
from services.ingress.writer.outbox import Outbox
from services.ingress.writer.pen import ChannelGone, Pen, refused_for_pace
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.stream import (
    APPEND,
    DEAD,
    ENDED,
    FULL,
    MOST_TEXT,
    START,
    Stream,
    text_of,
)

log = structlog.get_logger(__name__)


class Live:
    """Shows a turn while it runs. `show` never waits; `finish` makes the stream the final message if it can.

    `lost` tells that a stream may have begun whose place nobody told us, `unsure` that Slack knows better than we do what
    the thread shows of the turn, `said` what the stream says that became the final message.
    """

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
        # The streams that were let go: each stands in the thread as a piece of what was shown.
        self._pieces: list[Stream] = []
        # One stream carries everything so far: then it can become the final message, whatever the end's text is.
        self._whole = True
        self._muted = self._running = self.unsure = self.lost = False
        self.said = ""
        self._last = -1e9
        self._lock = asyncio.Lock()

    async def streams(self) -> set[str]:
        """Return the `ts` of every stream that is known to be the turn's; one that is just beginning is waited for."""
        async with self._lock:
            return {each.ts for each in (*self._pieces, self._stream) if each}

    def broken(self) -> None:
        """A part of the turn was shown elsewhere, by a predecessor."""
        self._whole, self.unsure = False, True

    def shared(self) -> None:
        """A predecessor showed some of what is shown here again."""
        self.unsure = True

    def mute(self) -> None:
        """Show nothing: a predecessor has said the turn's last word."""
        self._muted = True

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

    # --- sending ----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._running and not self._muted and self._outbox:
            self._running = True
            self._spawn(self._work())

    async def _work(self) -> None:
        while self._outbox and not self._muted:
            await asyncio.sleep(max(0.0, self._last + self._settings.append_every - _now()))
            method = APPEND if self._stream else START
            if wait := self._pen.spare(method, self._key.team, self._key.channel):
                await asyncio.sleep(wait)
                continue
            async with self._lock:
                await self._send()
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
            await (self._stream.append(chunks) if self._stream else self._start(chunks))
        except SlackError as e:
            self._failed(e, chunks)
        except ChannelGone:
            self._muted = True

    async def _start(self, chunks: list[Json]) -> None:
        self._stream = await Stream.start(self._pen, self._key, self._turn, self._recipient, chunks)
        self._posted()
        asyncio.get_running_loop().call_later(self._settings.rotate_after, self._grew_old, self._stream)

    def _failed(self, error: SlackError, chunks: list[Json]) -> None:
        """Decide what becomes of the stream, and of what was not acknowledged."""
        if refused_for_pace(error):
            self._outbox.put_back(chunks)
            return
        give_up("live", error.error)
        begun, self._whole = self._stream is not None, False
        if begun and error.error in DEAD | FULL:
            if self._stream and error.error in FULL:  # what is full is not over
                self._spawn(self._stream.stop([]))
            self._outbox.put_back(chunks, reopened=self._leave())
        elif not (begun and error.retriable):
            self._muted = True
            self.lost = error.retriable
        else:  # the append was carried out or not, nobody knows: its text may be missing, but never stands twice
            self.unsure = True

    def _leave(self) -> str:
        """Let the stream go, and return the fence that the next one has to open."""
        stream, self._stream, self._whole = self._stream, None, False
        if stream is None:
            return ""
        self._pieces.append(stream)
        return stream.fence.opener

    # --- rotating ---------------------------------------------------------------------------------------------------

    def _too_old(self, stream: Stream) -> bool:
        return _now() - stream.since >= self._settings.rotate_after or len(stream.text) > MOST_TEXT

    def _grew_old(self, stream: Stream) -> None:
        if stream is self._stream and not self._muted:
            self._spawn(self.rotate())

    async def rotate(self) -> None:
        """End the stream; what follows stands in a new one, below whatever is posted now."""
        async with self._lock:
            await self._rotate()
        self._wake()

    async def _rotate(self) -> None:
        if stream := self._stream:
            self._outbox.put_back([], reopened=self._leave())
            closing = stream.fence.closing
            await stream.stop([blocks.text_chunk(f"\n{closing}")] if closing else [])

    # --- ending -----------------------------------------------------------------------------------------------------

    async def finish(
        self,
        lead: str,
        text: str,
        footer: list[Json],
        found: Json,
        *,
        unclear: Callable[[], Awaitable[Json | None]],
        shown: Callable[[str], Awaitable[str]],
    ) -> bool:
        """Make the stream the final message, carrying `lead` and all of `text`; `shown` asks Slack what one shows.

        False when the final message must be posted.
        """
        self._muted = True
        async with self._lock:
            if (stream := self._stream) is None:
                return False
            if self.unsure:
                stream.text = await shown(stream.ts) or stream.text
            chunks = last_chunks(stream.text, self._outbox.take_all(), lead, text, whole=self._whole)
            if chunks is None:
                self._pieces.append(stream)
                self._spawn(stream.stop([]))
                return False
            try:
                await stream.finish(chunks, footer, found, unclear)
            except SlackError as e:
                log.info("the stream did not become the final message", ts=stream.ts, error=e.error)
                self._pieces.append(stream)
                if e.error not in ENDED:
                    self._spawn(stream.stop([]))
                return await unclear() is not None
            self.said = stream.text + text_of(chunks)
            return True

    def shows(self, text: str) -> bool:
        """Whether a piece that stands in the thread carries `text`."""
        return any(carries(piece.text, text) for piece in self._pieces)

    async def repeated(self, whole: str) -> list[str]:
        """Return the `ts` of our pieces, once they have ended, that show nothing but what stands in `whole` too."""
        for piece in self._pieces:
            await piece.stop([])
        return [piece.ts for piece in self._pieces if not piece.cards and carries(whole, piece.text)]

    async def close(self) -> None:
        """End the stream without an end of the turn: somebody else goes on."""
        self._muted = True
        async with self._lock:
            stream, self._stream = self._stream, None
            if stream:
                await stream.stop([])


def _now() -> float:
    return asyncio.get_running_loop().time()
