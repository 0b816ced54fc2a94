"""Says something exactly once in a thread, whatever Slack loses on the way."""

from collections.abc import Callable
from decimal import Decimal

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import Json, Replies, SlackError
from services.ingress.writer import blocks
from services.ingress.writer.budget import Urgency
from services.ingress.writer.ledger import Ledger, Mark, metadata
from services.ingress.writer.metrics import DUPLICATES, give_up
from services.ingress.writer.pen import ChannelGone, Pen
from services.runtime.redact import SHAPES

log = structlog.get_logger(__name__)

POST, UPLOAD = "chat.postMessage", "files.completeUploadExternal"
PAGE, MOST_PAGES = 200, 50
TEXT = 11_900


class Once:
    """Posts into one thread what does not stand there yet. `ledger` is what we know to stand there.

    `since` is the `ts` from which on it looks; empty for the whole thread. Everything raises `ChannelGone` where nothing
    can be said any more, and `SlackError` for a refusal that trying again does not change.
    """

    def __init__(self, pen: Pen, key: SessionKey, bot_user: str, posted: Callable[[], None]) -> None:
        self._pen = pen
        self._key = key
        self._bot_user = bot_user
        self._posted = posted
        self.ledger = Ledger()
        self.since = ""

    # --- reading ------------------------------------------------------------------------------------------------

    async def look(self, since: str | None = None, urgency: Urgency = "due") -> Ledger:
        """Return what stands in the thread now, from the `ts` `since` on; empty for the whole thread."""
        begin = self.since if since is None else since
        oldest = just_before(begin) if begin else None
        messages: list[Json] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._page(oldest, cursor, urgency)
            messages += page.messages
            cursor = page.cursor
            if not cursor:
                break
        return Ledger.read(self._key, messages, self._bot_user)

    async def _page(self, oldest: str | None, cursor: str | None, urgency: Urgency) -> Replies:
        return await self._pen.until_done(
            "conversations.replies",
            self._key.team,
            self._key.channel,
            lambda: self._pen.slack.replies(
                self._key.channel,
                self._key.thread_ts,
                oldest=oldest,
                limit=PAGE,
                cursor=cursor,
                include_all_metadata=True,
            ),
            urgency=urgency,
        )

    async def find(self, mark: Mark) -> Json | None:
        """Return the answer that a call got lost with, where its message stands in the thread."""
        ts = (await self.look()).has(mark)
        return {"ts": ts} if ts else None

    # --- saying -------------------------------------------------------------------------------------------------

    async def say(self, turn: int, mark: Mark, text: str, shown: list[Json]) -> str:
        """Post a message once and return its `ts`; where its blocks are refused its text goes out without them.

        Raises `SlackError` where even that is refused.
        """
        if there := self.ledger.has(mark):
            return there
        words = blocks.short(SHAPES.text(text), TEXT)
        forms: list[Json] = [{"text": words, "blocks": shown}, {"markdown_text": words}]
        answer = await self._in_some_form(turn, mark, forms)
        ts = str(answer["ts"])
        self.ledger.posted.setdefault(mark, []).append(ts)
        self._posted()
        return ts

    async def _in_some_form(self, turn: int, mark: Mark, forms: list[Json]) -> Json:
        base = {
            "channel": self._key.channel,
            "thread_ts": self._key.thread_ts,
            "metadata": metadata(self._key, turn, mark),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        for form in forms[:-1]:
            try:
                return await self._post(base | form, mark)
            except SlackError as e:
                log.warning("a message is shown in a smaller form", error=e.error, what=mark.what)
                give_up("form", e.error)
        return await self._post(base | forms[-1], mark)

    async def _post(self, arguments: Json, mark: Mark) -> Json:
        return await self._pen.due(
            POST, self._key.team, self._key.channel, arguments, unclear=lambda: self.find(mark)
        )

    def has_file(self, name: str, size: int) -> bool:
        """Whether a file of ours with this name and size is known to be in the thread."""
        return self.ledger.file(name, size) is not None

    async def upload(self, name: str, data: bytes, comment: str | None = None) -> None:
        """Put a file into the thread; one with the same name and size that we put there already is enough."""
        masked = SHAPES.data(data)

        async def there() -> str | None:
            return (await self.look()).file(name, len(masked))

        await self._pen.until_done(
            UPLOAD,
            self._key.team,
            self._key.channel,
            lambda: self._pen.slack.upload_file(
                self._key.channel, name=name, data=masked, thread_ts=self._key.thread_ts, comment=comment
            ),
            unclear=there,
        )
        self._posted()

    # --- cleaning up --------------------------------------------------------------------------------------------

    async def stop_stream(self, ts: str, turn: int = 0) -> None:
        """End a stream that nobody writes to any more, as a piece of `turn` where that is known."""
        known = {"metadata": metadata(self._key, turn, Mark("live", turn))} if turn else {}
        await self._quietly("chat.stopStream", {"ts": ts} | known)

    async def delete(self, ts: str) -> None:
        """Take a message of ours out of the thread."""
        await self._quietly("chat.delete", {"ts": ts})

    async def sweep(self, since: str) -> None:
        """Delete what stands in the thread twice from the `ts` `since` on; whoever has to speak goes before."""
        for ts in (await self.look(since, "live")).doubles():
            if await self._quietly("chat.delete", {"ts": ts}):
                DUPLICATES.inc()

    async def _quietly(self, method: str, arguments: Json) -> bool:
        whole = {"channel": self._key.channel} | arguments
        try:
            await self._pen.due(method, self._key.team, self._key.channel, whole)
        except (SlackError, ChannelGone) as e:
            log.info("could not clean up", method=method, error=str(e))
            return False
        return True


def just_before(ts: str) -> str:
    """Return the `ts` before this one: Slack leaves out the message at `oldest` itself."""
    return f"{Decimal(ts) - Decimal('0.000001'):.6f}"
