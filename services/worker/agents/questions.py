"""Questions that wait for a person."""

import asyncio
from collections.abc import Awaitable, Callable

from .protocol import Answer, QuestionAsked
from .trim import sound


class WithdrawnError(Exception):
    """The question was taken back before anybody answered."""


class Questions:
    """The open questions of one agent; `publish` makes each of them an event."""

    def __init__(self, publish: Callable[[QuestionAsked], Awaitable[None]]) -> None:
        self._publish = publish
        self._open: dict[str, asyncio.Future[Answer]] = {}

    async def ask(self, question: QuestionAsked) -> Answer:
        """Ask and wait for the answer; raises `WithdrawnError`. A cancelled asker leaves no open question.

        Raises `ValueError` for what is no question.
        """
        question = sound(question)
        self._open[question.id] = asyncio.get_running_loop().create_future()
        try:
            await self._publish(question)
            return await self._open[question.id]
        finally:
            del self._open[question.id]

    def answer(self, question: str, answer: Answer) -> bool:
        """Hand an answer to the asker; False when the question is not open."""
        future = self._open.get(question)
        if future is None or future.done():
            return False
        future.set_result(answer)
        return True

    def withdraw(self) -> None:
        """Take every open question back."""
        for future in self._open.values():
            if not future.done():
                future.set_exception(WithdrawnError())
