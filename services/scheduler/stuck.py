"""What an operator should look at: sessions that do not go on by themselves. Pure."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from schemas.buckets import Lease, OpenTurn, Turns
from schemas.bus import LEASE_LIFE
from services.scheduler.core import obey_by
from services.scheduler.settings import SchedulerSettings

State = Literal["waiting", "starting", "running", "lost", "paused", "idle"]

# After a broker's outage nobody is declared dead for one lease's life; the second one is for what follows from it.
SLACK = timedelta(seconds=2 * LEASE_LIFE)
# Twice the time after which a worker without input leaves, as long as its settings do not say otherwise.
IDLE = timedelta(minutes=10)

SEE_SCHEDULER = "see that a scheduler runs: threadmill doctor --live"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the buckets show it; `stored_at` is when its memory was last written."""

    memory: Turns = Turns()
    lease: Lease | None = None
    stored_at: datetime | None = None


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """What does not go on, why, and what to do about it, in a few words each."""

    what: Literal["turn", "inputs", "lease"]
    why: str
    todo: str


def state_of(seen: Seen) -> State:
    """Return what the session does."""
    turn = seen.memory.open
    if turn is None:
        return _state_between_turns(seen)
    if seen.lease:
        return "running"
    if turn.starting_until:
        return "starting"
    return "lost" if turn.lease or turn.lost else "waiting"


def _state_between_turns(seen: Seen) -> State:
    if not seen.memory.waiting:
        return "idle"
    return "paused" if seen.memory.paused else "waiting"


def since(seen: Seen, rules: SchedulerSettings) -> datetime | None:
    """Return when the session came into its state, None where nothing tells."""
    turn, state = seen.memory.open, state_of(seen)
    if turn is None:
        return seen.memory.waiting[0].at if seen.memory.waiting else seen.stored_at
    if state == "starting" and turn.starting_until:
        return turn.starting_until - rules.launch
    if state == "lost":
        return seen.stored_at or turn.started_at or turn.opened_at
    return turn.started_at if state == "running" and turn.started_at else turn.opened_at


def stuck(seen: Seen, at: datetime, rules: SchedulerSettings) -> Stuck | None:
    """Return what an operator should look at, None where the session goes on by itself or waits for a person."""
    if seen.memory.open:
        return _overdue(seen, seen.memory.open, at, rules) or _unheld(seen, at, rules)
    if seen.memory.waiting:
        return None if seen.memory.paused else _unopened(seen, at, rules)
    return _kept(seen, at)


def _overdue(seen: Seen, turn: OpenTurn, at: datetime, rules: SchedulerSettings) -> Stuck | None:
    timed = turn.begun or turn.stopped_at or turn.refusal
    if not timed or at <= obey_by(turn, rules) + SLACK:
        return None
    why = "stopped, and goes on" if turn.stopped_at else "refused, and open" if turn.refusal else "overdue"
    return Stuck(what="turn", why=why, todo=_end_holder(seen.lease))


def _unheld(seen: Seen, at: datetime, rules: SchedulerSettings) -> Stuck | None:
    if seen.lease or not _longer(since(seen, rules), rules.launch, at):
        return None
    match state_of(seen):
        case "starting":
            return Stuck(
                what="turn", why="no worker took it", todo="read the scheduler's log: workers do not start"
            )
        case "lost":
            return Stuck(what="turn", why="its worker is gone", todo=SEE_SCHEDULER)
    return Stuck(
        what="turn", why="no worker is free", todo="allow more workers, or end one: threadmill leases"
    )


def _unopened(seen: Seen, at: datetime, rules: SchedulerSettings) -> Stuck | None:
    if not _longer(since(seen, rules), rules.launch, at):
        return None
    return Stuck(what="inputs", why="nothing opens a turn", todo=_end_holder(seen.lease))


def _kept(seen: Seen, at: datetime) -> Stuck | None:
    if seen.lease is None:
        return None
    idle_since = max(seen.lease.since, seen.stored_at or seen.lease.since)
    if not _longer(idle_since, IDLE, at):
        return None
    return Stuck(what="lease", why="held without a turn", todo=_end_holder(seen.lease))


def _longer(since: datetime | None, than: timedelta, at: datetime) -> bool:
    return since is not None and at > since + than + SLACK


def _end_holder(lease: Lease | None) -> str:
    return f"end the worker {lease.holder}" if lease else SEE_SCHEDULER
