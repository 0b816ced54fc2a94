"""`end`: how a turn ended, once for every turn."""

from typing import ClassVar

import msgspec

from schemas.base import Dollars, Family, Moment, SessionMessage, now
from schemas.events import CommitPushed, Outcome, Usage
from schemas.keys import SessionKey
from schemas.people import Person


class TurnEnd(SessionMessage, frozen=True, kw_only=True):
    """How a turn ended: written once, with everything that a reader needs to know of it.

    `inputs` are the sequences of all inputs that the turn took, its opener first. `text` is the full final text.
    `pressed_at` is when the newest stop was pressed that was known to mean it: the log may tell of that stop later.
    `retry_at` is when a refused person may try again. `ours` tells that the failure is the platform's: it costs no quota.
    `repo` is the address without secrets, or `own` for the session's beginner's own repository.
    """

    leaf: ClassVar[str] = "end"
    turn: int
    outcome: Outcome
    inputs: tuple[int, ...]
    user: Person
    text: str = ""
    reason: str = ""
    stop_reason: str = ""
    pressed_at: Moment | None = None
    usage: Usage = Usage()
    cost_usd: Dollars = 0.0
    duration_ms: int = 0
    attempt: int = 1
    agent: str = ""
    branch: str = ""
    repo: str = ""
    commits: tuple[CommitPushed, ...] = ()
    state_complete: bool = True
    retry_at: Moment | None = None
    ours: bool = False
    at: Moment = msgspec.field(default_factory=now)

    def subject(self, key: SessionKey) -> str:
        """Return `session.<key>.end.<turn>`."""
        return f"session.{key}.end.{self.turn}"


ENDS = Family.of(TurnEnd)
