"""The questions of one turn: asked by the agent, answered by people, or lapsed."""

from collections.abc import Awaitable, Callable

from schemas.events import Event, InputTaken, QuestionAsked, QuestionClosed
from schemas.inputs import Answered
from services.worker.agents.protocol import Agent, Answer
from services.worker.core import counts

Write = Callable[[Event], Awaitable[None]]


class Asking:
    """What is open; `left` are the questions of earlier attempts, which nobody waits for any more."""

    def __init__(self, left: tuple[str, ...], write: Write) -> None:
        self._left = set(left)
        self._open: dict[str, QuestionAsked] = {}
        self._write = write

    def asked(self, question: QuestionAsked) -> None:
        """Note a question of the agent."""
        self._left.discard(question.id)
        self._open[question.id] = question

    async def answer(self, answered: Answered, sequence: int, agent: Agent) -> bool:
        """Hand a person's answer to the agent; False for one that settles nothing."""
        question = self._open.get(answered.question)
        if question is None or not counts(answered, question):
            return False
        del self._open[answered.question]
        await self._write(InputTaken(sequence=sequence, id=answered.id))
        await self._write(
            QuestionClosed(id=answered.question, by=answered.user, choice=answered.choice, text=answered.text)
        )
        await agent.answer(answered.question, Answer(choice=answered.choice, text=answered.text))
        return True

    async def lapse(self) -> None:
        """Close all that is open: whoever asked is gone."""
        for question in sorted((*self._left, *self._open)):
            await self._write(QuestionClosed(id=question))
        self._left.clear()
        self._open.clear()
