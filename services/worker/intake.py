"""What a turn takes of what people say: written down first, then given to the agent, again where an attempt was lost."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from schemas.events import Event, InputTaken
from schemas.inputs import Said
from services.worker.agents.protocol import Agent, Prompt
from services.worker.core import Attempted, SessionView, Waiting
from services.worker.feed import Feed

GO_ON = (
    "You were interrupted and run again on another machine. Look at what is done, and go on where you were."
)


class Write(Protocol):
    """Writes events down, in order."""

    async def __call__(self, *events: Event) -> None:
        """Return when all are stored."""


class Intake:
    """The inputs of the turn that `opener` opened; `before` tells what earlier attempts took."""

    def __init__(
        self, opener: Waiting, before: Attempted, view: SessionView, feed: Feed, write: Write
    ) -> None:
        self._opener = opener
        self._view = view
        self._feed = feed
        self._write = write
        self._told = list(before.taken)
        self._all = [opener.sequence, *before.taken]

    @property
    def all(self) -> tuple[int, ...]:
        """The sequences of all inputs that the turn took, its opener first."""
        return tuple(dict.fromkeys(self._all))

    @property
    def told(self) -> bool:
        """Whether an agent was given anything, here or in an earlier attempt."""
        return bool(self._told)

    def note(self, sequence: int) -> None:
        """Note an input that the turn took in another way, such as an answer."""
        self._all.append(sequence)

    async def take(self, answers: Callable[[Said], Awaitable[bool]], *before: Event) -> None:
        """Take everything that waits; what `answers` a question of the agent is not given to it a second time.

        What is to stand `before` it is written down with the first of it, or alone.
        """
        for waiting in self._view.waiting():
            await self._write(*before, InputTaken(sequence=waiting.sequence, id=waiting.said.id))
            before = ()
            self._view.take(waiting.sequence)
            self._told.append(waiting.sequence)
            self._all.append(waiting.sequence)
            # Words answer at once; files take a way of their own.
            if not await answers(waiting.said) or waiting.said.files:
                self._feed.put(waiting.said)
        if before:
            await self._write(*before)

    def give_again(self, agent: Agent, start: str) -> None:
        """Give a new agent what was taken before, as far as its conversation lacks it; `start` names this start."""
        said = [self._view.said[sequence] for sequence in self._told if sequence in self._view.said]
        missing = [each for each in said if not agent.contains(each.id)]
        for each in missing:
            self._feed.put(each)
        if self._told and not missing:
            self._feed.put(Prompt(id=f"go-on-{self._opener.sequence}-{start}", text=GO_ON))
