"""What a turn came to, where two machines worked on it, or somebody stopped it."""

from datetime import timedelta

from schemas.base import now
from schemas.inputs import Said, Stop
from schemas.people import Person
from services.worker.core import Attempted, Waiting
from services.worker.tally import Ending, Tally, stopped, timed_out

OPENER = Waiting(sequence=1, said=Said(id="m", user=Person(id="U1"), text="go"))


def duration(before: Attempted) -> int:
    return Tally(before).end(OPENER, Ending(), (1,), ()).duration_ms


def test_the_time_of_earlier_attempts_counts() -> None:
    assert 60_000 <= duration(Attempted(began=now() - timedelta(seconds=60))) < 70_000


def test_a_clock_that_is_ahead_elsewhere_takes_nothing_away() -> None:
    assert 0 <= duration(Attempted(began=now() + timedelta(seconds=60))) < 10_000


def test_the_log_tells_who_pressed_what_was_heard_and_the_newest_press_counts() -> None:
    at = now()
    earlier = Stop(user=Person(id="U1"), at=at - timedelta(seconds=1))
    later = Stop(user=Person(id="U1"), at=at)
    for heard, logged in ((earlier, later), (later, earlier)):
        told = stopped(heard).after(stopped(logged, by="U1"))
        assert (told.stop_reason, told.pressed_at) == ("U1", at)


def test_a_stop_that_comes_while_the_turn_ends_otherwise_is_settled_by_its_end() -> None:
    stop = Stop(user=Person(id="U1"))
    told = timed_out(60).after(stopped(stop, by="U1"))
    assert (told.outcome, told.stop_reason, told.pressed_at) == ("timed_out", "", stop.at)
    assert timed_out(60).after(timed_out(60)).pressed_at is None
