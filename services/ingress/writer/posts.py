"""What is said exactly once in a thread: the final message, questions, notices, files; each in ever smaller forms."""

from collections.abc import Callable

import structlog

from schemas.keys import SessionKey
from schemas.people import File
from services.ingress.slack_api import Json, Replies, SlackError
from services.ingress.writer import blocks
from services.ingress.writer.acts import Ask, Close, Finish, Refuse, Share, Tell
from services.ingress.writer.ledger import Ledger, Mark, metadata
from services.ingress.writer.metrics import DUPLICATES, give_up
from services.ingress.writer.pen import ChannelGone, Pen
from services.ingress.writer.redact import redact
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.split import split

log = structlog.get_logger(__name__)

POST, UPLOAD = "chat.postMessage", "files.completeUploadExternal"
PAGE, MOST_PAGES = 200, 50
TEXT, UPDATED_TEXT = 11_900, 3_900
IN_FILE = "_The whole answer is in the file above._"


class Posts:
    """Says things in one thread. Raises `ChannelGone` where nothing can be said any more."""

    def __init__(
        self, pen: Pen, settings: WriterSettings, key: SessionKey, bot_user: str, posted: Callable[[], None]
    ) -> None:
        self._pen = pen
        self._settings = settings
        self._key = key
        self._bot_user = bot_user
        self._posted = posted
        self.ledger = Ledger()

    # --- reading ------------------------------------------------------------------------------------------------

    async def look(self, oldest: str | None = None) -> Ledger:
        """Return what stands in the thread now. Raises `ChannelGone`, `SlackError`."""
        messages: list[Json] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._page(oldest, cursor)
            messages += page.messages
            cursor = page.cursor
            if not cursor:
                break
        return Ledger.read(self._key, messages, self._bot_user)

    async def _page(self, oldest: str | None, cursor: str | None) -> Replies:
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
        words = blocks.short(redact(text), TEXT)
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

    async def upload(self, name: str, data: bytes, comment: str | None = None) -> None:
        """Put a file into the thread; one with the same name and size that we put there already is enough."""
        clean = _clean(data)

        async def there() -> str | None:
            found = (await self.look()).files
            return next((one.ts for one in found if (one.name, one.size) == (name, len(clean))), None)

        await self._pen.until_done(
            UPLOAD,
            self._key.team,
            self._key.channel,
            lambda: self._pen.slack.upload_file(
                self._key.channel, name=name, data=clean, thread_ts=self._key.thread_ts, comment=comment
            ),
            unclear=there,
        )
        self._posted()

    # --- what there is to say -----------------------------------------------------------------------------------

    async def final(self, sequence: int, finish: Finish) -> None:
        """Post a turn's final message: in parts where it is long, as a file where it is very long."""
        text = redact("\n\n".join(filter(None, (blocks.lead(finish), finish.text))))
        parts = split(text, self._settings.part_chars)
        footer = blocks.footer(self._key, finish)
        if len(parts) > self._settings.most_parts:
            await self._answer_as_file(finish.turn, text)
            parts = [f"{parts[0]}\n\n{IN_FILE}"]
        for number, part in enumerate(parts[:-1], start=1):
            await self.say(finish.turn, Mark("part", sequence, number), part, [blocks.markdown(part)])
        mark = Mark("turn", sequence)
        try:
            await self.say(finish.turn, mark, parts[-1], [blocks.markdown(parts[-1]), *footer])
        except SlackError as e:
            give_up("message", e.error)
            log.exception("a final message goes out as a file", error=e.error, session=str(self._key))
            await self._answer_as_file(finish.turn, text)
            await self.say(finish.turn, mark, IN_FILE, [blocks.markdown(IN_FILE)])

    async def _answer_as_file(self, turn: int, text: str) -> None:
        name = f"answer-{turn}.md"
        if not any(one.name == name for one in self.ledger.files):
            await self.upload(name, text.encode())

    async def ask(self, sequence: int, ask: Ask) -> None:
        """Post a question with its buttons."""
        words = f"{ask.question.title}\n{ask.question.detail}".strip()
        shown = blocks.question(self._key, ask.question)
        await self.say(ask.turn, Mark("question", sequence), words, shown)

    async def close(self, close: Close) -> None:
        """Put who answered what in the place of a question's buttons."""
        mark = Mark("question", close.asked)
        ts = self.ledger.has(mark) or (await self.look()).has(mark)
        if ts is None:
            return
        text = f"{close.question.title}: {blocks.answer_line(close.closed)}"
        arguments = {
            "channel": self._key.channel,
            "ts": ts,
            "text": blocks.short(text, UPDATED_TEXT),
            "blocks": blocks.answered(close.question, close.closed),
        }
        await self._pen.due("chat.update", self._key.team, self._key.channel, arguments)

    async def tell(self, sequence: int, tell: Tell) -> None:
        """Post a notice."""
        shown = blocks.notice(tell.text, tell.level)
        await self.say(tell.turn, Mark("notice", sequence), tell.text, shown)

    async def share(self, share: Share, data: bytes | None) -> None:
        """Put the agent's file into the thread; None when it is no longer kept."""
        if data is None:
            give_up("file", "expired")
        elif not self._has_file(share.file, len(_clean(data))):
            await self.upload(share.file.name, data)

    def _has_file(self, file: File, size: int) -> bool:
        return any((one.name, one.size) == (file.name, size) for one in self.ledger.files)

    async def refuse(self, refuse: Refuse) -> None:
        """Tell the person alone why their turn does not start; somebody who is not there is told nothing."""
        arguments = {
            "channel": self._key.channel,
            "thread_ts": self._key.thread_ts,
            "user": refuse.end.user.id,
            "text": blocks.refusal(refuse.end),
        }
        await self._pen.due("chat.postEphemeral", self._key.team, self._key.channel, arguments)

    # --- cleaning up --------------------------------------------------------------------------------------------

    async def stop_stream(self, ts: str) -> None:
        """End a stream that nobody writes to any more."""
        await self._quietly("chat.stopStream", {"ts": ts})

    async def sweep(self) -> None:
        """Delete what stands in the thread twice."""
        for ts in (await self.look()).doubles():
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


def _clean(data: bytes) -> bytes:
    """The file with its credentials masked, where it is text."""
    try:
        return redact(data.decode()).encode()
    except UnicodeDecodeError:
        return data
