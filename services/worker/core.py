"""What a worker knows of its session from the log, and what follows from it. Pure: no I/O."""

from collections.abc import Sequence

import msgspec

from schemas.base import Message, Unknown
from schemas.ends import TurnEnd
from schemas.events import Event, InputTaken, QuestionAsked, QuestionClosed
from schemas.inputs import Answered, Close, Continued, Edited, Said, Stop, Withdrawn


class Waiting(msgspec.Struct, frozen=True):
    """A message that no turn took yet, with its place in the log."""

    sequence: int
    said: Said


class SessionView:
    """The session as its log tells it: fed with every `in`, `control` and `end` in order."""

    def __init__(self) -> None:
        self._waiting: dict[int, Said] = {}
        self._ended: set[int] = set()
        self._fated: set[int] = set()
        self.said: dict[int, Said] = {}
        self.paused = False
        self.closed = False
        self.stop_at = 0

    def apply(self, sequence: int, message: Message | Unknown) -> None:
        """Take in the message at `sequence`; a repeated one changes nothing."""
        match message:
            case Said():
                self.said[sequence] = message
                self.paused = False
                if sequence not in self._fated:
                    self._waiting[sequence] = message
            case Edited() | Withdrawn():
                self._amend(message)
            case Continued():
                self.paused = False
            case Stop() | Close():
                self.paused = bool(self._waiting)
                self.stop_at = sequence
                self.closed = isinstance(message, Close)
            case TurnEnd():
                self._ended.add(message.turn)
                for taken in (message.turn, *message.inputs):
                    self.take(taken)
            case _:
                pass

    def _amend(self, message: Edited | Withdrawn) -> None:
        for sequence, said in list(self._waiting.items()):
            if said.id != message.of or said.user.id != message.user.id:
                continue
            if isinstance(message, Edited):
                amended = msgspec.structs.replace(said, text=message.text)
                self._waiting[sequence] = self.said[sequence] = amended
            else:
                del self._waiting[sequence]

    def take(self, sequence: int) -> None:
        """The input at `sequence` has its fate."""
        self._fated.add(sequence)
        self._waiting.pop(sequence, None)

    def is_open(self, turn: int) -> bool:
        """Whether the turn that the input at `turn` opened, or would open, has not ended."""
        return (
            turn in self.said and turn not in self._ended and (turn in self._waiting or turn in self._fated)
        )

    def waiting(self) -> Sequence[Waiting]:
        """Return the messages without a fate, oldest first."""
        return [Waiting(sequence, said) for sequence, said in sorted(self._waiting.items())]

    def next_turn(self) -> Waiting | None:
        """Return the message that opens the next turn, None when there is none or people wait for Continue."""
        waiting = self.waiting()
        return waiting[0] if waiting and not self.paused else None


class Attempted(msgspec.Struct, frozen=True):
    """What earlier attempts at an open turn left in the log: inputs taken, questions open, blocks of text written."""

    taken: tuple[int, ...] = ()
    questions: tuple[str, ...] = ()
    blocks: int = 0
    commits: tuple[Event, ...] = ()

    def after(self, event: Message | Unknown, turn: int) -> "Attempted":
        """Return what is known after one more `out` of `turn`."""
        if not isinstance(event, Event) or event.turn != turn:
            return self
        match event:
            case InputTaken() if event.sequence not in self.taken:
                return msgspec.structs.replace(self, taken=(*self.taken, event.sequence))
            case QuestionAsked():
                return msgspec.structs.replace(self, questions=(*self.questions, event.id))
            case QuestionClosed():
                return msgspec.structs.replace(
                    self, questions=tuple(q for q in self.questions if q != event.id)
                )
            case _:
                return _work_left(self, event)


def _work_left(left: Attempted, event: Event) -> Attempted:
    match event.kind():
        case "text-block":
            return msgspec.structs.replace(left, blocks=left.blocks + 1)
        case "commit-pushed":
            return msgspec.structs.replace(left, commits=(*left.commits, event))
        case _:
            return left


def answers(message: Message | Unknown, question: str) -> bool:
    """Whether `message` is a person's answer to `question`."""
    return isinstance(message, Answered) and message.question == question


def prompt_text(said: Said, opener: Said) -> str:
    """Return what the agent is told: the person's words, with their name where several people talk."""
    if said.user.id == opener.user.id:
        return said.text
    return f"[{said.user.name or said.user.id}] {said.text}"
