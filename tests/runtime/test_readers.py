"""What a reader waits for: the last of all that it reads, as the stream's leader knows it, for as few questions as will do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.runtime.readers import around, matches

SESSION = "session.T1.C1.1-1"
LOG = tuple(f"{SESSION}.{leaf}" for leaf in ("in.*", "control", "end.*"))
SUBJECTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)


class Counting(Bus):
    """A bus that notes for which subjects it asks."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus.client)
        self.asked: list[str] = []

    async def last(self, stream: str, subject: str, **more) -> Stored | None:
        self.asked.append(subject)
        return await super().last(stream, subject, **more)


async def made(bus: Bus, filters: tuple[str, ...]) -> tuple[int, list[str]]:
    """Have a reader made; return what it waits for, and the questions that this took."""
    counting = Counting(bus)
    reader = await counting.readers.make("SESSIONS", filters, "all", 0)
    counting.readers.forget("SESSIONS", reader.name)
    return reader.last, counting.asked


async def store(bus: Bus, *leaves: str) -> list[int]:
    return [await bus.publish_raw(f"{SESSION}.{leaf}", b"{}", {}) for leaf in leaves]


async def test_a_session_whose_newest_message_is_read_is_asked_for_once(bus: Bus) -> None:
    *_, last = await store(bus, "out", "control", "end.1", "in.a")
    assert await made(bus, LOG) == (last, [f"{SESSION}.>"])


async def test_what_else_a_session_wrote_since_hides_nothing(bus: Bus) -> None:
    _, last, *_ = await store(bus, "in.a", "end.1", "out", "state")
    assert await made(bus, LOG) == (last, [f"{SESSION}.>", *LOG])


async def test_of_a_session_that_is_empty_nothing_is_waited_for(bus: Bus) -> None:
    await bus.publish_raw("session.T1.C1.2-2.in.a", b"{}", {})
    assert await made(bus, LOG) == (0, [f"{SESSION}.>"])


async def test_a_single_subject_is_asked_for_itself(bus: Bus) -> None:
    last, _ = await store(bus, "out", "in.a")
    assert await made(bus, (f"{SESSION}.out",)) == (last, [f"{SESSION}.out"])


@given(subject=SUBJECTS, filters=st.lists(SUBJECTS, min_size=2, max_size=3), wild=st.integers(0, 3))
def test_whatever_one_of_several_filters_matches_the_wildcard_around_them_does(
    subject: str, filters: list[str], wild: int
) -> None:
    for wildcard in (filters[0], f"{subject}.>", ".".join([*subject.split(".")[:wild], "*"])):
        wanted = [wildcard, *filters]
        if any(matches(subject, each) for each in wanted):
            assert matches(subject, around(wanted))


@pytest.mark.parametrize(
    ("wildcard", "does"),
    [
        ("a.b.c", True),
        ("a.*.c", True),
        ("a.>", True),
        ("a.b.>", True),
        (">", True),
        ("a.b.c.>", False),
        ("a.b", False),
        ("a.b.c.d", False),
        ("a.*", False),
        ("*.*.d", False),
    ],
)
def test_wildcards_match_as_the_brokers_do(wildcard: str, does: bool) -> None:
    assert matches("a.b.c", wildcard) is does
