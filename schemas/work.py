"""`work`: what a new worker is asked to do, and the requests that services make of each other."""

import msgspec

from schemas.base import Family, Message, Moment, now
from schemas.keys import SessionKey, token
from schemas.people import Person


class Assignment(Message, frozen=True, kw_only=True):
    """One start of one turn, for whichever new worker of the pool takes it; worthless after `expires_at`.

    `agent`, `model` and `repo` are None where the worker's own settings decide; a session keeps the `repo` and the `branch`
    that its first turn had, as its end tells them. Seconds for `turn_seconds`.
    `instructions` are those of the channel, then those of the person. `owner` began the session: where nothing else
    decides, it works on their repository.
    `trouble` is a sentence about the worker before, for the thread. No stop up to sequence `opened_after` means the turn.
    """

    session: str
    turn: int
    attempt: int
    pool: str
    user: Person
    expires_at: Moment
    issued_at: Moment = msgspec.field(default_factory=now)
    input_at: Moment | None = None
    opened_after: int = 0
    turn_seconds: int = 3600
    max_budget_usd: float | None = None
    repo: str | None = None
    branch: str | None = None
    agent: str | None = None
    model: str | None = None
    instructions: tuple[str, ...] = ()
    owner: Person | None = None
    trouble: str = ""

    @property
    def new(self) -> bool:
        """Whether nobody has worked in the session, most likely."""
        return self.attempt == 1 and self.branch is None

    @property
    def id(self) -> str:
        """Return `<key>.<turn>.<attempt>`."""
        return f"{self.session}.{self.turn}.{self.attempt}"

    @property
    def key(self) -> SessionKey:
        """Return the session's key. Raises `InvalidKey`."""
        return SessionKey.parse(self.session)

    def subject(self) -> str:
        """Return `work.<pool>`."""
        return f"work.{token(self.pool)}"


class Admit(Message, frozen=True, kw_only=True):
    """A holder asks whether the input at sequence `turn` may open a turn."""

    session: str
    turn: int
    user: Person

    def subject(self) -> str:
        """Return the subject of the request."""
        return f"scheduler.admit.{self.session}"


class Admission(Message, frozen=True, kw_only=True):
    """The scheduler's word on an `Admit`: `reason` and `retry_at` when it is refused.

    `instructions` are those of the channel, then those of the person whose turn it is. No stop up to sequence `opened_after`
    means the turn.
    """

    admitted: bool
    attempt: int = 1
    opened_after: int = 0
    reason: str = ""
    retry_at: Moment | None = None
    turn_seconds: int = 3600
    max_budget_usd: float | None = None
    instructions: tuple[str, ...] = ()


class NotNow(Message, frozen=True, kw_only=True):
    """The scheduler's other word on an `Admit`: another turn is open, or one of the two has read less of the log.

    Read on, and ask again if it still matters.
    """


ADMISSIONS = Family.of(Admission, NotNow)
