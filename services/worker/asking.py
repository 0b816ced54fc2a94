"""The questions of one turn: asked by the agent, answered by people, or lapsed."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from schemas.events import Event, InputTaken, QuestionAsked, QuestionClosed
from schemas.inputs import Answered, Said
from services.worker.agents.protocol import Agent, Answer, Prompt
from services.worker.core import choice_in, counts, name_of, takes_words

Write = Callable[[Event], Awaitable[None]]

LATE = "Before you were interrupted you asked: {title}\n{who} has answered: {what}"


class Asking:
    """What is open; `left` are the questions of earlier attempts, which nobody waits for any more."""

    def __init__(self, left: Iterable[QuestionAsked], write: Write) -> None:
        self._left = {each.id: each for each in left}
        self._open: dict[str, QuestionAsked] = {}
        self._write = write

    def asked(self, question: QuestionAsked) -> None:
        """Note a question of the agent."""
        self._left.pop(question.id, None)
        self._open[question.id] = question

    async def answer(self, answered: Answered, sequence: int, agent: Agent) -> bool:
        """Hand a person's answer to the agent; False for one to nothing that is open."""
        question = self._open.get(answered.question)
        if question is None or not counts(answered, question):
            return False
        await self._write(InputTaken(sequence=sequence, id=answered.id))
        closed = QuestionClosed(id=question.id, by=answered.user, choice=answered.choice, text=answered.text)
        await self._settle(closed, Answer(choice=answered.choice, text=answered.text), agent)
        return True

    async def answered_late(self, answers: Mapping[str, Mapping[int, Answered]]) -> dict[int, Prompt]:
        """Close what was answered while nobody worked; return what the agent has to be told, by the answers' places."""
        told: dict[int, Prompt] = {}
        for question in list(self._left.values()):
            given = answers.get(question.id, {}).items()
            first = next(((at, answered) for at, answered in given if counts(answered, question)), None)
            if first is None:
                continue
            sequence, answered = first
            del self._left[question.id]
            await self._write(InputTaken(sequence=sequence, id=answered.id))
            await self._write(
                QuestionClosed(id=question.id, by=answered.user, choice=answered.choice, text=answered.text)
            )
            who, what = name_of(answered.user), answered.choice or answered.text
            text = LATE.format(title=question.title, who=who, what=what)
            told[sequence] = Prompt(id=answered.id, text=text)
        return told

    async def answer_by_words(self, said: Said, words: str, agent: Agent) -> bool:
        """Hand what somebody said to the oldest question that words can settle; False where none is open.

        `words` is how the agent reads it. Whoever took `said` wrote that down before.
        """
        for question in [each for each in self._open.values() if takes_words(each)]:
            choice = choice_in(said.text, question)
            closed = QuestionClosed(
                id=question.id, by=said.user, choice=choice, text="" if choice else said.text
            )
            if await self._settle(closed, Answer(choice=choice, text="" if choice else words), agent):
                return True
        return False

    async def _settle(self, closed: QuestionClosed, answer: Answer, agent: Agent) -> bool:
        """Hand the answer over and close the question; False where the agent took it back meanwhile: it lapses."""
        del self._open[closed.id]
        heard = await agent.answer(closed.id, answer)
        await self._write(closed if heard else QuestionClosed(id=closed.id))
        return heard

    async def lapse(self) -> None:
        """Close all that is open: whoever asked is gone."""
        for question in [*self._left, *self._open]:
            await self._write(QuestionClosed(id=question))
        self._left.clear()
        self._open.clear()
