"""What an operator should look at, and what goes on by itself."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from schemas.buckets import Lease, OpenTurn, Turns, Waiting
from schemas.people import Person
from services.scheduler.settings import SchedulerSettings
from services.scheduler.stuck import IDLE, SLACK, Seen, state_of, stuck

AT = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Person(id="U1")
RULES = SchedulerSettings()
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NEW = OpenTurn(turn=7, user=WHO, opened_at=AT, deadline=AT + HOUR)
STARTING = replace(NEW, start=1, starting_until=AT + RULES.launch)
RUNNING = replace(NEW, start=1, lease=9, started_at=AT)
LOST = replace(NEW, start=1, lost=9, started_at=AT)
INPUT = Waiting(sequence=8, id="m8", user=WHO, at=AT)
LEASE = Lease(holder="w-1", since=AT)
LAUNCHED = RULES.launch + SLACK


def seen(turn: OpenTurn | None = None, *waiting: Waiting, lease: Lease | None = None, **more) -> Seen:
    return Seen(memory=Turns(open=turn, waiting=waiting, **more), lease=lease, stored_at=AT)


def why(seen: Seen, after: timedelta) -> str | None:
    found = stuck(seen, AT + after, RULES)
    return found.why if found else None


@pytest.mark.parametrize(
    ("session", "state"),
    [
        (seen(NEW), "waiting"),
        (seen(STARTING), "starting"),
        (seen(RUNNING, lease=LEASE), "running"),
        (seen(RUNNING), "lost"),
        (seen(LOST), "lost"),
        (seen(None, INPUT), "waiting"),
        (seen(None, INPUT, paused=True), "paused"),
        (seen(None, lease=LEASE), "idle"),
    ],
)
def test_the_state_of_a_session(session: Seen, state: str) -> None:
    assert state_of(session) == state


@pytest.mark.parametrize(
    ("session", "patience", "told"),
    [
        (seen(NEW), LAUNCHED, "no worker is free"),
        (seen(STARTING), LAUNCHED, "no worker took it"),
        (seen(LOST), LAUNCHED, "its worker is gone"),
        (seen(RUNNING), LAUNCHED, "its worker is gone"),
        (seen(RUNNING, lease=LEASE), HOUR + timedelta(seconds=RULES.deadline_grace) + SLACK, "overdue"),
        (
            seen(replace(RUNNING, stop=9, stopped_at=AT), lease=LEASE),
            timedelta(seconds=RULES.stop_grace) + SLACK,
            "stopped, and goes on",
        ),
        (seen(replace(NEW, refusal="no"), lease=LEASE), 10 * SECOND + SLACK, "refused, and open"),
        (seen(None, INPUT), LAUNCHED, "nothing opens a turn"),
        (seen(None, INPUT, lease=LEASE), LAUNCHED, "nothing opens a turn"),
        (seen(None, lease=LEASE), IDLE + SLACK, "held without a turn"),
        (Seen(lease=LEASE), IDLE + SLACK, "held without a turn"),
    ],
)
def test_it_is_stuck_once_patience_is_over(session: Seen, patience: timedelta, told: str) -> None:
    assert why(session, patience) is None
    assert why(session, patience + SECOND) == told


@pytest.mark.parametrize(
    "session",
    [
        seen(None, INPUT, paused=True),
        seen(None, INPUT, paused=True, lease=LEASE),
        seen(None),
        Seen(),
    ],
)
def test_what_waits_for_a_person_or_for_nothing_is_never_stuck(session: Seen) -> None:
    assert why(session, timedelta(days=30)) is None


def test_a_running_turn_with_inputs_behind_it_is_not_stuck_before_its_deadline() -> None:
    assert why(seen(RUNNING, INPUT, lease=LEASE), HOUR) is None


def test_the_deadline_of_a_turn_that_never_began_does_not_run() -> None:
    late = AT + 2 * HOUR
    waiting = replace(seen(NEW), memory=Turns(open=replace(NEW, opened_at=late)))
    assert stuck(waiting, late, RULES) is None


def test_what_to_do_names_the_worker_where_there_is_one() -> None:
    held = stuck(seen(RUNNING, lease=LEASE), AT + 2 * HOUR, RULES)
    unheld = stuck(seen(RUNNING), AT + 2 * HOUR, RULES)
    assert held
    assert held.todo == "end the worker w-1"
    assert unheld
    assert unheld.todo == "see that a scheduler runs: threadmill doctor --live"
