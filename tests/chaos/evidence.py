"""What a campaign left behind, as the checker reads it: the log, the threads, the archive, the repository, the rest."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One message of SESSIONS. `session` is the key, `leaf` what follows it in the subject, `id` its message id."""

    sequence: int
    session: str
    leaf: str
    id: str
    time: datetime
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def writer(self) -> str:
        """Who wrote it: the first 12 characters of a message id name one connection."""
        return self.id[:12]


@dataclass(frozen=True)
class Archived:
    """One record of the archive: in which object it is, the how manieth there."""

    session: str
    object: str
    sequence: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Acknowledged:
    """A message of a person whose delivery was acknowledged: by `ts`, with whether it was meant for us."""

    channel: str
    ts: str
    root: str


@dataclass(frozen=True)
class Rules:
    """What the services were told: turns per person and window, and how far their clocks were moved at most."""

    turns: int
    window: float
    skew: float


@dataclass
class Evidence:
    """Everything. `threads` is what Slack shows by session, `reachable` the commits of each branch.

    `settled` is what log, archive and threads were when everything had to be settled, before the sessions were picked up
    again. `stops` counts how often people pressed Stop. `counted` are the turns that ever stood in each person's window, with when they began. `probed` are the inputs by
    which each session was picked up again at the end, `left` the processes that outlived the shutdown.
    """

    rules: Rules
    log: list[Entry] = field(default_factory=list)
    archive: list[Archived] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    stops: dict[str, int] = field(default_factory=dict)
    counted: dict[str, dict[str, datetime]] = field(default_factory=dict)
    threads: dict[str, dict[str, Any]] = field(default_factory=dict)
    settled: "Evidence | None" = None
    reachable: dict[str, set[str]] = field(default_factory=dict)
    probed: dict[str, str] = field(default_factory=dict)
    dead_letters: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)
