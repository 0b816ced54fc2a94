"""What a session reacts to, one at a time, in the order in which it became known."""

import msgspec

from schemas.base import Message, Unknown
from schemas.inputs import Control
from schemas.work import Admission, NotNow
from services.worker.agents.protocol import AgentEvent


class Logged(msgspec.Struct, frozen=True):
    """Something new in the session's log."""

    sequence: int
    message: Message | Unknown


class StopHeard(msgspec.Struct, frozen=True):
    """A stop, heard ahead of the log."""

    control: Control


class Admitted(msgspec.Struct, frozen=True):
    """The scheduler's word on the message at `turn`; None when it did not say any."""

    turn: int
    admission: Admission | NotNow | None


class Saved(msgspec.Struct, frozen=True):
    """The work of the turn is saved, or it is known why not."""


class DrainAsked(msgspec.Struct, frozen=True):
    """The worker has to go: save, hand over, release."""


class DeadlineNear(msgspec.Struct, frozen=True):
    """The turn's time is nearly over; `seconds` are left."""

    seconds: int


class DeadlinePassed(msgspec.Struct, frozen=True):
    """The turn's time is over."""


class PatienceOver(msgspec.Struct, frozen=True):
    """The moment that was given as the `number`th one of the turn is over: to an interrupted agent, or to the saving."""

    number: int


class Prepared(msgspec.Struct, frozen=True):
    """Workspace and agent are ready; `problem` is one sentence when they are not."""

    problem: str = ""


class Said(msgspec.Struct, frozen=True):
    """The agent of start `start` did something; earlier starts' late words are passed over."""

    start: int
    event: AgentEvent


Happening = (
    Logged
    | StopHeard
    | Admitted
    | Saved
    | DrainAsked
    | DeadlineNear
    | DeadlinePassed
    | PatienceOver
    | Prepared
    | Said
)
