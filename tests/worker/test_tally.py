"""What a turn came to, where two machines worked on it, or somebody stopped it."""

from datetime import timedelta

from schemas.base import now
from schemas.inputs import Said, Stop
from schemas.people import Person
from services.worker.core import Attempted, Waiting
from services.worker.tally import Ending, Tally, stopped

OPENER = Waiting(sequence=1, said=Said(id="m", user=Person(id="U1"), text="go"))


def duration(before: Attempted) -> int:
    return Tally(before).end(OPENER, Ending(), (1,), ()).duration_ms


def test_the_time_of_earlier_attempts_counts() -> None:
    assert 60_000 <= duration(Attempted(began=now() - timedelta(seconds=60))) < 70_000


def test_a_clock_that_is_ahead_elsewhere_takes_nothing_away() -> None:
    assert 0 <= duration(Attempted(began=now() + timedelta(seconds=60))) < 10_000


def test_the_log_tells_who_pressed_what_was_heard_and_the_newest_press_counts() -> None:
    at = now()
    earlier, later = (
        Stop(user=Person(id="U1"), at=at - timedelta(seconds=1)),
        Stop(user=Person(id="U1"), at=at),
    )
    for heard, logged in ((earlier, later), (later, earlier)):
        told = stopped(heard).confirmed(stopped(logged, by="U1"))
        assert (told.stop_reason, told.pressed_at) == ("U1", at)
    assert Ending().confirmed(stopped(later, by="U1")) == Ending()
