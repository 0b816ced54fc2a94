"""`in` and `control`: what people said or pressed."""

from datetime import datetime
from typing import ClassVar

import msgspec

from schemas.base import Family, Moment, SessionMessage, now
from schemas.keys import SessionKey, token
from schemas.people import File, Person, Remark


class Input(SessionMessage, frozen=True, kw_only=True):
    """What a person said or pressed. `id` comes from the source, so that the server refuses the same input twice."""

    id: str
    user: Person
    at: Moment = msgspec.field(default_factory=now)

    def __post_init__(self) -> None:
        """Refuse an id that would not be one token of the subject."""
        token(self.id)

    def subject(self, key: SessionKey) -> str:
        """Return `session.<key>.in.<id>`."""
        return f"session.{key}.in.{self.id}"


class Said(Input, frozen=True, kw_only=True):
    """A message for the agent: it opens a turn, is taken by a running one, or is withdrawn.

    `earlier` is what stood in the thread before, oldest first, where a session begins in the middle of one.
    """

    text: str
    files: tuple[File, ...] = ()
    source: str = "slack"
    earlier: tuple[Remark, ...] = ()


class Answered(Input, frozen=True, kw_only=True):
    """A person's answer to a question of the agent; it never opens a turn, and lapses when nobody asks any more."""

    question: str
    choice: str | None = None
    text: str = ""


class Edited(Input, frozen=True, kw_only=True):
    """A new text for the message `of`; it changes a queued one and leaves a started one alone."""

    of: str
    text: str


class Withdrawn(Input, frozen=True, kw_only=True):
    """The message `of` was deleted; a queued one is then never started."""

    of: str


class Continued(Input, frozen=True, kw_only=True):
    """What waits after a stop may go on."""


INPUTS = Family.of(Said, Answered, Edited, Withdrawn, Continued)


class Control(SessionMessage, frozen=True, kw_only=True):
    """What a person pressed. One that comes late, brought again by its source, never means what was said after it."""

    leaf: ClassVar[str] = "control"
    user: Person
    at: Moment = msgspec.field(default_factory=now)

    def may_mean(self, said_at: datetime) -> bool:
        """Whether what was said at `said_at` stood there when this was pressed; both are times of the source."""
        return said_at <= self.at


class Stop(Control, frozen=True, kw_only=True):
    """End the turn that is open and oldest at this message's place in the log."""


class Close(Control, frozen=True, kw_only=True):
    """Stop, and release the worker."""


CONTROLS = Family.of(Stop, Close)
