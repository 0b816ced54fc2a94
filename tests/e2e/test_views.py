"""The worker, the scheduler and the thread read one log: they are of one mind on whom a stop means, and on what waits."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.e2e.three_readers import Happens, Session

THINGS = st.builds(
    Happens,
    what=st.sampled_from(
        ["say", "say", "go on", "stop", "stop", "stop again", *["work"] * 6, "die", "leave"]
    ),
    seconds=st.integers(-3, 5),
    stored=st.sampled_from([True, True, False]),
    ahead=st.booleans(),
    told=st.sampled_from([0, 1, 40]),
)


def _now(what: str) -> Happens:
    return Happens(what, 1, stored=True, ahead=True, told=40)


def _late(what: str, *, ahead: bool = False) -> Happens:
    return Happens(what, 1, stored=True, ahead=ahead, told=0)


# Stopped between two turns and gone on with, of which a worker hears when it is at the next turn: by the stop, ahead of the log.
LATE_STOP = [_now(each) for each in ("say", "work", "work", "work", "say", "work")]
LATE_STOP += [_late("stop"), _late("go on"), _late("work", ahead=True)]
# Stopped between two turns, of which the worker never hears: it dies, or leaves.
UNHEARD_STOP = [_now(each) for each in ("say", "work", "work", "work")]
UNHEARD_STOP += [_late("say"), _late("stop")]
# Of a stop, people were told, or spoke before they were; of the next one the worker never hears.
GOES_ON = [*UNHEARD_STOP[:4], _late("say"), _now("stop"), _late("go on"), _late("stop"), _late("die")]
SPEAKS = [*UNHEARD_STOP, Happens("say", 1, stored=True, ahead=False, told=2), _late("stop"), _late("die")]


@given(st.lists(THINGS, max_size=40))
@example(LATE_STOP)
@example([*UNHEARD_STOP, _late("die")])
@example([*UNHEARD_STOP, _late("leave")])
@example(GOES_ON)
@example(SPEAKS)
def test_all_are_of_one_mind_on_what_waits_for_people(things: list[Happens]) -> None:
    session = Session()
    for each in things:
        session.happens(each)
        session.check()
    session.settle()
    session.check()
