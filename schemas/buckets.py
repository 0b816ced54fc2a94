"""The values of the key-value buckets."""

import msgspec

from schemas.base import Message, Moment, now
from schemas.keys import token
from schemas.people import Person
from schemas.stops import Stops

# How the holders' names of schedulers begin.
SCHEDULERS = "scheduler-"


class Lease(Message, frozen=True, kw_only=True):
    """Who works on the session. The entry's creation revision is the fencing token, kept in `token` once it is known."""

    holder: str
    since: Moment = msgspec.field(default_factory=now)
    token: int = 0

    @property
    def is_schedulers(self) -> bool:
        """Whether a scheduler holds it: for a moment, to write what no worker does."""
        return self.holder.startswith(SCHEDULERS)


class Grant(Message, frozen=True, kw_only=True):
    """The session that a worker was let into, and whether the worker is gone."""

    session: str
    ended: bool = False


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An input without a fate yet."""

    sequence: int
    id: str
    user: Person
    at: Moment


class OpenTurn(msgspec.Struct, frozen=True, kw_only=True):
    """The turn that is open: admitted, and not ended. `stop` is the sequence of the stop that ends it.

    `pressed_at` is when the newest stop was pressed that means it. `id` is its input's. `start` counts its starts, the last
    of which may take until `starting_until`. `lease` is the token of the lease under which it runs, `lost` that of the last
    one that went. No stop up to sequence `opened_after` means it; 0 where that is not known. `refusal` tells people why it may
    not run, `trouble` what became of its last worker.
    """

    turn: int
    user: Person
    opened_at: Moment
    opened_after: int = 0
    deadline: Moment
    attempt: int = 1
    started_at: Moment | None = None
    stop: int | None = None
    id: str = ""
    input_at: Moment | None = None
    start: int = 0
    starting_until: Moment | None = None
    lease: int = 0
    lost: int = 0
    stopped_at: Moment | None = None
    pressed_at: Moment | None = None
    refusal: str = ""
    retry_at: Moment | None = None
    trouble: str = ""

    @property
    def begun(self) -> bool:
        """Whether it was ever given to a worker; until then its deadline does not run."""
        return bool(self.start or self.lease or self.lost)


class Turns(Message, frozen=True, kw_only=True):
    """The scheduler's memory of one session: the fold over its log up to sequence `heard`, and what was decided on it.

    `paused` tells that what waits does so for people. They may not know since the stop at `untold_since`; 0 where they do.
    """

    waiting: tuple[Waiting, ...] = ()
    open: OpenTurn | None = None
    paused: bool = False
    untold_since: int = 0
    heard: int = 0
    closed_at: Moment | None = None
    stops: Stops = Stops()

    @property
    def idle(self) -> bool:
        """Whether nothing is open or waiting."""
        return not (self.open or self.waiting)

    @property
    def foremost(self) -> tuple[int, Person] | None:
        """The input that comes first of those without an end, with who said it; None when idle."""
        if self.open:
            return self.open.turn, self.open.user
        return (self.waiting[0].sequence, self.waiting[0].user) if self.waiting else None


class RateStart(msgspec.Struct, frozen=True, kw_only=True):
    """One turn that counts against a person's limit."""

    turn: str
    at: Moment


class RateWindow(Message, frozen=True, kw_only=True):
    """The turns that a person started inside the window, oldest first."""

    starts: tuple[RateStart, ...] = ()


class Summary(Message, frozen=True, kw_only=True):
    """The session at a glance.

    `status` is `idle`, `closed`, `queued` or `working`: a rest as soon as it is known, anything else once it has lasted a
    quarter of a second. The memory, `Turns`, is exact.
    """

    status: str
    user: Person
    title: str = ""
    repo: str = ""
    branch: str = ""
    agent: str = ""
    turns: int = 0
    cost_usd: float = 0.0
    last_turn: int = 0
    last_outcome: str = ""
    updated_at: Moment = msgspec.field(default_factory=now)


class Preferences(Message, frozen=True, kw_only=True):
    """What a channel or a person prefers; `instructions` is what every agent that works for them is told."""

    instructions: str = ""

    @staticmethod
    def key(team: str, of: str) -> str:
        """Return where the preferences of the channel or person `of` are kept. Raises `InvalidKey`."""
        return f"{token(team)}.{token(of)}"


class PartitionOwner(Message, frozen=True, kw_only=True):
    """Who writes into the threads of one partition of the channels."""

    holder: str
    since: Moment = msgspec.field(default_factory=now)


class Cursor(Message, frozen=True, kw_only=True):
    """How far a reader of SESSIONS has come: everything up to `sequence` is done."""

    sequence: int
