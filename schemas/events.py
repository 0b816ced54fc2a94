"""`out`: what happened in a session, from the holder of its lease alone."""

from typing import ClassVar, Literal

import msgspec

from schemas.base import Dollars, Family, Moment, SessionMessage, now
from schemas.people import File, Person

Outcome = Literal["completed", "failed", "cancelled", "timed_out", "rejected"]


class Event(SessionMessage, frozen=True, kw_only=True):
    """Something that happened. `turn` is the sequence of the input that opened the turn, 0 outside of one."""

    leaf: ClassVar[str] = "out"
    turn: int = 0
    at: Moment = msgspec.field(default_factory=now)


class Claimed(Event, frozen=True, kw_only=True):
    """The holder's first act: from here on, whoever held the lease before is refused. `lease` is its revision."""

    lease: int
    holder: str
    attempt: int = 1


class Phases(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time before the agent's start went, in milliseconds."""

    queued: int = 0
    launched: int = 0
    workspace: int = 0
    agent: int = 0


class TurnStarted(Event, frozen=True, kw_only=True):
    """The agent works. `warm` tells whether a worker was waiting; `resumed` whether it continues its conversation."""

    attempt: int
    worker: str
    agent: str
    resumed: bool
    warm: bool
    phases: Phases = Phases()
    branch: str = ""


class InputTaken(Event, frozen=True, kw_only=True):
    """The turn takes the input at `sequence`: written before the agent gets it."""

    sequence: int
    id: str


class TextBlock(Event, frozen=True, kw_only=True):
    """A finished block of the agent's text, in Markdown. `block` counts the turn's blocks from 0."""

    block: int
    text: str


class Thought(Event, frozen=True, kw_only=True):
    """A summary of what the agent thought."""

    text: str


class ToolStarted(Event, frozen=True, kw_only=True):
    """A tool call began."""

    call: str
    name: str
    title: str
    detail: str = ""


class ToolFinished(Event, frozen=True, kw_only=True):
    """A tool call ended."""

    call: str
    ok: bool
    duration_ms: int
    output: str = ""


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the agent's plan."""

    text: str
    status: Literal["pending", "in_progress", "completed"]


class PlanUpdated(Event, frozen=True, kw_only=True):
    """The agent's list of things to do, whole."""

    steps: tuple[PlanStep, ...]


class QuestionAsked(Event, frozen=True, kw_only=True):
    """The agent waits for a person. `id` is one token."""

    id: str
    about: Literal["permission", "choice", "plan"]
    title: str
    detail: str = ""
    choices: tuple[str, ...] = ()


class QuestionClosed(Event, frozen=True, kw_only=True):
    """The question is answered (`by` is who), or lapsed (`by` is None) with its turn."""

    id: str
    by: Person | None = None
    choice: str | None = None
    text: str = ""


class FileShared(Event, frozen=True, kw_only=True):
    """The agent gives a file to the thread."""

    file: File
    comment: str = ""


class CommitPushed(Event, frozen=True, kw_only=True):
    """Work reached the session's branch. `url` is where a person can look at it, empty when there is no such place."""

    branch: str
    sha: str
    title: str
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    url: str = ""


class Notice(Event, frozen=True, kw_only=True):
    """Something that the people in the thread should know."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


class Titled(Event, frozen=True, kw_only=True):
    """The agent gave the session a title."""

    title: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that a turn used."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


class Paused(Event, frozen=True, kw_only=True):
    """A stop that ended no turn lets what was said wait for people: for Continue, or for their next message.

    What waits behind a turn that was stopped needs none: its end tells.
    """


class HandedOver(Event, frozen=True, kw_only=True):
    """The worker saved everything and releases the session in the middle of a turn; the next one goes on.

    `usage` and `cost_usd` are what the turn has used and cost so far.
    """

    reason: str
    usage: Usage = Usage()
    cost_usd: Dollars = 0.0


class TurnFinished(Event, frozen=True, kw_only=True):
    """The last `out` of a turn, in one atomic batch with its `TurnEnd`."""

    outcome: Outcome


EVENTS = Family.of(
    Claimed,
    TurnStarted,
    InputTaken,
    TextBlock,
    Thought,
    ToolStarted,
    ToolFinished,
    PlanUpdated,
    QuestionAsked,
    QuestionClosed,
    FileShared,
    CommitPushed,
    Notice,
    Titled,
    Paused,
    HandedOver,
    TurnFinished,
)
