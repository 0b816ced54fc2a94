"""What there is to say in a thread: the final message, questions, notices, files, refusals."""

import structlog

from schemas.keys import SessionKey
from services.ingress.slack_api import SlackError
from services.ingress.writer import blocks, closing, questions
from services.ingress.writer.acts import Ask, Close, Finish, Refuse, Share, Tell, Wait
from services.ingress.writer.ledger import Mark
from services.ingress.writer.metrics import give_up
from services.ingress.writer.once import Once
from services.ingress.writer.pen import Pen
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.split import split
from services.runtime.redact import SHAPES

log = structlog.get_logger(__name__)

UPDATED_TEXT = 3_900
IN_FILE = "_The whole answer is in the file above._"


class Posts:
    """Says things in one thread. Raises as `Once` does."""

    def __init__(self, pen: Pen, once: Once, settings: WriterSettings, key: SessionKey) -> None:
        self._pen = pen
        self._once = once
        self._settings = settings
        self._key = key

    async def final(self, sequence: int, finish: Finish) -> None:
        """Post a turn's final message: in parts where it is long, as a file where it is very long."""
        text = SHAPES.text("\n\n".join(filter(None, (closing.lead(finish), finish.text))))
        parts = split(text, self._settings.part_chars)
        footer = closing.footer(self._key, finish)
        if len(parts) > self._settings.most_parts:
            await self._answer_as_file(finish.turn, text)
            parts = [f"{parts[0]}\n\n{IN_FILE}"]
        for number, part in enumerate(parts[:-1], start=1):
            await self._once.say(finish.turn, Mark("part", sequence, number), part, [blocks.markdown(part)])
        mark = Mark("turn", sequence)
        try:
            await self._once.say(finish.turn, mark, parts[-1], [blocks.markdown(parts[-1]), *footer])
        except SlackError as e:
            give_up("message", e.error)
            log.exception("a final message goes out as a file", error=e.error, session=str(self._key))
            await self._answer_as_file(finish.turn, text)
            await self._once.say(finish.turn, mark, IN_FILE, [blocks.markdown(IN_FILE)])

    async def _answer_as_file(self, turn: int, text: str) -> None:
        name = f"answer-{turn}.md"
        data = text.encode()
        if not self._once.has_file(name, len(data)):
            await self._once.upload(name, data)

    async def ask(self, sequence: int, ask: Ask) -> None:
        """Post a question with its buttons."""
        words = f"{ask.question.title}\n{ask.question.detail}".strip()
        shown = questions.question(self._key, ask.question)
        await self._once.say(ask.turn, Mark("question", sequence), words, shown)

    async def close(self, close: Close) -> None:
        """Put who answered what in the place of a question's buttons."""
        mark = Mark("question", close.asked)
        ts = self._once.ledger.has(mark) or (await self._once.look("")).has(mark)
        if ts is None:
            return
        text = f"{close.question.title}: {questions.answer_line(close.closed)}"
        arguments = {
            "channel": self._key.channel,
            "ts": ts,
            "text": blocks.short(text, UPDATED_TEXT),
            "blocks": questions.answered(close.question, close.closed),
        }
        await self._pen.due("chat.update", self._key.team, self._key.channel, arguments)

    async def tell(self, sequence: int, tell: Tell) -> None:
        """Post a notice."""
        shown = blocks.notice(tell.text, tell.level)
        await self._once.say(tell.turn, Mark("notice", sequence), tell.text, shown)

    async def wait(self, sequence: int, wait: Wait) -> None:
        """Post that messages wait, with Continue."""
        shown = closing.queue(self._key, wait.queued)
        await self._once.say(wait.turn, Mark("notice", sequence), closing.waiting(wait.queued), shown)

    async def share(self, share: Share, data: bytes | None) -> None:
        """Put the agent's file into the thread; None when it is no longer kept."""
        if data is None:
            give_up("file", "expired")
        elif not self._once.has_file(share.file.name, len(SHAPES.data(data))):
            await self._once.upload(share.file.name, data)

    async def refuse(self, refuse: Refuse) -> None:
        """Tell the person alone why their turn does not start; somebody who is not there is told nothing."""
        arguments = {
            "channel": self._key.channel,
            "thread_ts": self._key.thread_ts,
            "user": refuse.end.user.id,
            "text": closing.refusal(refuse.end),
        }
        await self._pen.due("chat.postEphemeral", self._key.team, self._key.channel, arguments)
