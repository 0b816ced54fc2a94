"""What must arrive goes before what is only live, and Slack's word counts more than our own bookkeeping."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingress.writer.budget import PACES, Budget

POST, START = "chat.postMessage", "chat.startStream"


def test_a_channel_takes_a_short_burst_and_then_one_message_a_second() -> None:
    budget = Budget()
    assert [budget.take(POST, "T", "C1", 0.0) for _ in range(4)] == [0.0] * 4
    assert budget.take(POST, "T", "C1", 0.0) == 1.0
    assert budget.take(POST, "T", "C1", 1.0) == 0.0


def test_channels_do_not_wait_for_each_other() -> None:
    budget = Budget()
    for _ in range(4):
        budget.take(POST, "T", "C1", 0.0)
    assert budget.take(POST, "T", "C2", 0.0) == 0.0


def test_live_updates_leave_the_reserve_to_what_must_arrive() -> None:
    budget = Budget()
    assert budget.take(POST, "T", "C1", 0.0, "live") == 0.0
    assert budget.take(POST, "T", "C1", 0.0, "live") > 0
    assert [budget.take(POST, "T", "C1", 0.0) for _ in range(3)] == [0.0] * 3


def test_after_a_refusal_nothing_goes_until_slack_said() -> None:
    budget = Budget()
    budget.close(START, "T", "C1", 10.0, 30.0)
    assert budget.take(START, "T", "C2", 12.0) == 28.0
    assert budget.take(START, "T", "C2", 40.0) == 0.0
    assert budget.take(START, "T", "C2", 40.0) > 0
    assert budget.take(START, "other", "C1", 12.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["due", "live"])), max_size=200))
def test_never_more_than_the_pace_allows(asked: list[tuple[float, str]]) -> None:
    budget, now, taken = Budget(), 0.0, 0
    for wait, urgency in asked:
        now += wait
        taken += budget.take(START, "T", "C", now, urgency) == 0.0  # type: ignore[arg-type]  # one of the two words
    pace = PACES[START]
    assert taken <= pace.burst + now * pace.per_minute / 60 + 1e-6


@given(st.floats(0, 100))
def test_who_waits_as_told_gets_it(now: float) -> None:
    budget = Budget()
    while (wait := budget.take(POST, "T", "C", now)) == 0.0:
        pass
    assert budget.take(POST, "T", "C", now + wait + 1e-9) == 0.0
