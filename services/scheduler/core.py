"""What to do next for a session, from its memory and who holds its lease. Pure."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from schemas.buckets import OpenTurn, Turns, Waiting
from schemas.bus import LEASE_LIFE
from schemas.events import Outcome
from services.scheduler.settings import SchedulerSettings

# A worker that keeps handing over without getting anywhere is stopped by this.
MAX_STARTS = 20
# Another replica published the assignment a moment ago, unless it died; then this one does.
PUBLISH_AFTER = timedelta(seconds=2)
# A worker that our launcher does not know is left to the replica that started it for so long.
REVOKE_AFTER = timedelta(seconds=3)
# A scheduler writes what it has to within its lease's life; whoever holds one for longer has only taken the name.
LONGEST_ENDING = timedelta(seconds=2 * LEASE_LIFE)
# A scheduler's lease stands for a moment; its going may be news to nobody.
SCHEDULERS_MOMENT = timedelta(seconds=1)
# A holder that was told of a refusal writes it down within this time.
REFUSAL_GRACE = timedelta(seconds=10)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that stands. `ours` tells that a scheduler holds it, for a moment; by its name, first seen at `seen`."""

    token: int
    holder: str
    revision: int
    since: datetime
    ours: bool
    seen: datetime


class Departed(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that went: deleted by its holder, or not renewed, or its process was seen dead; `reason` is a clause, or empty."""

    held: Held
    how: Literal["released", "expired", "died"]
    reason: str = ""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside the memory. `published`: this replica published the start that is under way."""

    now: datetime
    held: Held | None = None
    departed: Departed | None = None
    published: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn has to end. `ours`: the failure is the platform's."""

    outcome: Outcome
    reason: str
    ours: bool = False
    retry_at: datetime | None = None


class Rest(msgspec.Struct, frozen=True):
    """Nothing to do before `until`."""

    until: datetime | None = None


class OpenNext(msgspec.Struct, frozen=True):
    """`first` opens a turn, if it is admitted."""

    first: Waiting


class Start(msgspec.Struct, frozen=True):
    """`turn` needs a worker."""

    turn: OpenTurn


class Publish(msgspec.Struct, frozen=True):
    """The assignment of the start under way may be missing."""

    turn: OpenTurn


class Unclaimed(msgspec.Struct, frozen=True):
    """No worker took the assignment in time."""

    turn: OpenTurn


class Note(msgspec.Struct, frozen=True):
    """A worker holds the lease: the turn runs."""

    turn: OpenTurn
    held: Held


class Lost(msgspec.Struct, frozen=True):
    """The lease under which the turn ran is gone; `departed` is None where nobody saw how."""

    turn: OpenTurn
    token: int
    departed: Departed | None


class End(msgspec.Struct, frozen=True):
    """The scheduler has to end the turn itself."""

    turn: OpenTurn
    verdict: Verdict


class Evict(msgspec.Struct, frozen=True):
    """The holder did not obey: kill it. One that nobody knows loses its lease at `revoke_at`."""

    held: Held
    revoke_at: datetime


class Release(msgspec.Struct, frozen=True):
    """The session is closed: its idle holder has to leave."""

    held: Held


class Tell(msgspec.Struct, frozen=True):
    """What was said waits for people since the stop at `since`, of which nobody may have told them."""

    since: int


Action = Rest | OpenNext | Start | Publish | Unclaimed | Note | Lost | End | Evict | Release | Tell


def decide(memory: Turns, view: View, rules: SchedulerSettings) -> Action:
    """Return the next thing to do; deciding again after it leads on."""
    turn, holder = memory.open, view.held
    if turn is None:
        return _between_turns(memory, view, rules)
    if holder:
        if not holder.ours and holder.token != turn.lease and holder.token > turn.lost:
            return Note(turn, holder)
        return _watch(turn, holder, view.now, rules)
    return _unheld(turn, view, rules)


def _between_turns(memory: Turns, view: View, rules: SchedulerSettings) -> Action:
    if memory.waiting and not memory.paused:
        if view.held is None:
            return OpenNext(memory.waiting[0])
        # A worker asks by itself, since it alone knows what the turn before has taken.
        return Rest(view.now + SCHEDULERS_MOMENT) if view.held.ours else Rest()
    if memory.waiting and memory.untold_since and (view.held is None or view.held.ours):
        # A worker tells by itself, unless it dies first, or had its last word.
        return Rest(view.now + SCHEDULERS_MOMENT) if view.held else Tell(memory.untold_since)
    if memory.closed_at is None or view.held is None or view.held.ours:
        return Rest()
    due = memory.closed_at + timedelta(seconds=rules.stop_grace)
    return Rest(due) if view.now < due else Release(view.held)


def _watch(turn: OpenTurn, holder: Held, now: datetime, rules: SchedulerSettings) -> Action:
    due = obey_by(turn, rules)
    look_at = due
    if holder.ours:
        due = max(due, holder.seen) + LONGEST_ENDING
        look_at = min(due, now + SCHEDULERS_MOMENT)
    return Rest(look_at) if now < due else Evict(holder, due + REVOKE_AFTER)


def obey_by(turn: OpenTurn, rules: SchedulerSettings) -> datetime:
    """Return when the holder of `turn` must have ended it."""
    due = turn.deadline + timedelta(seconds=rules.deadline_grace)
    if turn.stopped_at:
        due = min(due, turn.stopped_at + timedelta(seconds=rules.stop_grace))
    if turn.refusal:
        due = min(due, turn.opened_at + REFUSAL_GRACE)
    return due


def _unheld(turn: OpenTurn, view: View, rules: SchedulerSettings) -> Action:
    verdict = verdict_on(turn, view.now, rules)
    if verdict:
        return End(turn, verdict)
    if token := _gone(turn, view, rules):
        return Lost(turn, token, view.departed)
    if turn.starting_until is None:
        return Start(turn)
    if view.now >= turn.starting_until:
        return Unclaimed(turn)
    publish_at = turn.starting_until - rules.launch + PUBLISH_AFTER
    if view.published or view.now < publish_at:
        return Rest(turn.starting_until if view.published else min(publish_at, turn.starting_until))
    return Publish(turn)


def _gone(turn: OpenTurn, view: View, rules: SchedulerSettings) -> int:
    """Return the token of the lease that `turn` lost and that is not accounted for yet, 0 when there is none."""
    if turn.lease:
        return turn.lease
    went = view.departed.held if view.departed else None
    if not (went and turn.starting_until) or went.ours or went.token <= turn.lost:
        return 0
    # It came and went before it could be noted; an older one belongs to an earlier turn.
    return went.token if went.since >= turn.starting_until - rules.launch else 0


def verdict_on(turn: OpenTurn, now: datetime, rules: SchedulerSettings) -> Verdict | None:
    """Return how `turn` has to end, None while it may go on."""
    if turn.refusal:
        return Verdict(outcome="rejected", reason=turn.refusal, retry_at=turn.retry_at)
    if turn.stop is not None:
        return Verdict(outcome="cancelled", reason="It was stopped.")
    if turn.attempt > rules.max_attempts:
        tries = "1 try" if rules.max_attempts == 1 else f"{rules.max_attempts} tries"
        reason = f"No worker could finish it in {tries}; say it again to try once more."
        if turn.trouble:
            reason = f"{reason} {turn.trouble}"
        return Verdict(outcome="failed", reason=reason, ours=True)
    if turn.begun and now >= turn.deadline:
        minutes = rules.turn_seconds / 60
        return Verdict(outcome="timed_out", reason=f"It took longer than {minutes:g} minutes.")
    if turn.start >= MAX_STARTS and turn.starting_until is None:
        reason = " ".join(filter(None, ("No worker could go on with it.", turn.trouble)))
        return Verdict(outcome="failed", reason=reason, ours=True)
    return None


def refusal_text(rules: SchedulerSettings) -> str:
    """Return why a person's input is not admitted."""
    turns = "1 turn" if rules.turns_per_window == 1 else f"{rules.turns_per_window} turns"
    return f"You may start {turns} in {rules.window_seconds / 60:g} minutes, and did."
