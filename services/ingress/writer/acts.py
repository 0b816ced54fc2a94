"""What an event asks of a thread: data that the view gives and the thread carries out. Pure."""

from typing import Literal

import msgspec

from schemas.ends import TurnEnd
from schemas.events import QuestionAsked, QuestionClosed
from schemas.people import File

SEEN, WORKING = "eyes", "gear"
LAST_SIGNS = {
    "completed": "white_check_mark",
    "failed": "x",
    "cancelled": "octagonal_sign",
    "timed_out": "hourglass",
    "rejected": "x",
}
# What the ids of a plan's steps begin with; all other cards are tools' and commits'.
STEP = "step-"
SIGNS = frozenset({SEEN, WORKING, *LAST_SIGNS.values()})


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Something to show. `turn` is the turn that it belongs to, 0 outside of one."""

    turn: int = 0


class React(Act, frozen=True, kw_only=True):
    """The message at `ts` carries this sign of ours and no other."""

    ts: str
    name: str


class Text(Act, frozen=True, kw_only=True):
    """More of the agent's text, for the live message. `closed` tells that its block ends here."""

    text: str
    closed: bool = False


class Card(Act, frozen=True, kw_only=True):
    """A task card of the live message."""

    id: str
    title: str
    status: Literal["pending", "in_progress", "complete", "error"]
    details: str = ""
    output: str = ""


class Plan(Act, frozen=True, kw_only=True):
    """The title over the plan's cards."""

    title: str


class Ask(Act, frozen=True, kw_only=True):
    """A question with its buttons."""

    question: QuestionAsked


class Close(Act, frozen=True, kw_only=True):
    """The question asked at sequence `asked` is over."""

    asked: int
    question: QuestionAsked
    closed: QuestionClosed


class Tell(Act, frozen=True, kw_only=True):
    """A notice that must be seen."""

    text: str
    level: Literal["info", "warning", "error"]


class Share(Act, frozen=True, kw_only=True):
    """A file for the thread."""

    file: File


class Name(Act, frozen=True, kw_only=True):
    """The session's title."""

    title: str


class Finish(Act, frozen=True, kw_only=True):
    """The turn's one final message. `notes` are what was told on the way, `tools` how many calls were made."""

    end: TurnEnd
    text: str
    notes: tuple[str, ...] = ()
    tools: int = 0
    queued: int = 0


class Wait(Act, frozen=True, kw_only=True):
    """Messages wait for people, where no final message says so: after a refusal, or a stop that ended no turn."""

    queued: int


class Refuse(Act, frozen=True, kw_only=True):
    """The turn never started: the person alone is told why, and when to try again."""

    end: TurnEnd
