"""The limit on turns per person, and holders' requests for admission, friendly and hostile."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.buckets import RateWindow
from schemas.people import Person
from schemas.work import ADMISSIONS, Admission, Admit, NotNow
from services.scheduler import rate
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=15)


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(1, 6))
def test_no_window_of_any_place_holds_more_turns_than_the_limit(gaps: list[int], limit: int) -> None:
    window, at, admitted = RateWindow(), START, []
    for turn, gap in enumerate(gaps):
        at += timedelta(minutes=gap / 4)
        window, retry_at = rate.count(window, str(turn), at, limit, WINDOW)
        if retry_at is None:
            admitted.append(at)
        else:
            # The word about the next free slot is exact: a moment before there is none, then there is one.
            before = rate.count(window, "x", retry_at - timedelta(microseconds=1), limit, WINDOW)[1]
            assert before is not None
            assert rate.count(window, "x", retry_at, limit, WINDOW)[1] is None
    for end in admitted:
        assert sum(end - WINDOW < start <= end for start in admitted) <= limit


@given(st.lists(st.integers(0, 4), max_size=20))
def test_the_same_turn_counts_once_and_given_back_not_at_all(turns: list[int]) -> None:
    window = RateWindow()
    for turn in turns:
        window, _ = rate.count(window, str(turn), START, 5, WINDOW)
    assert len(window.starts) == len(set(turns))
    for turn in turns:
        window = rate.give_back(window, str(turn))
    assert window.starts == ()


async def test_the_turn_over_the_limit_is_rejected_with_the_time_of_the_next_slot(bus, scheduler) -> None:
    window = timedelta(seconds=15)
    await scheduler(turns_per_window=2, window_seconds=window.total_seconds(), max_workers=8)
    threads = [Thread(bus, user="ULIMIT") for _ in range(3)]
    before = datetime.now(UTC)
    outcomes = [await threads[0].ended(await threads[0].say("finish"))]
    counted = datetime.now(UTC)
    outcomes += [await thread.ended(await thread.say("finish")) for thread in threads[1:]]
    assert [end.outcome for end in outcomes] == ["completed", "completed", "rejected"]
    retry_at = outcomes[2].retry_at
    assert retry_at is not None
    assert before + window <= retry_at <= counted + window
    await asyncio.sleep((retry_at - datetime.now(UTC)).total_seconds())
    assert (await threads[2].ended(await threads[2].say("finish"))).outcome == "completed"


async def test_people_do_not_use_up_each_others_turns_and_steering_is_free(bus, scheduler) -> None:
    await scheduler(turns_per_window=1, max_workers=8)
    one, other = Thread(bus, user="UONE"), Thread(bus, user="UOTHER")
    turn = await one.say("take and die")
    await one.say("steering")
    assert (await one.ended(turn, within=20)).outcome == "failed"
    assert (await other.ended(await other.say("finish"))).outcome == "completed"


async def test_a_holders_next_turn_is_refused_over_the_limit(bus, scheduler) -> None:
    await scheduler(turns_per_window=1)
    thread = Thread(bus, user="UHOLDER")
    await thread.ended(await thread.say("idle"))
    end = await thread.ended(await thread.say("one too many"))
    assert end.outcome == "rejected"
    assert end.retry_at is not None
    assert await thread.claims() == 1


async def test_an_admission_asked_for_twice_counts_once(bus, scheduler) -> None:
    await scheduler(turns_per_window=2)
    thread = Thread(bus, user="UTWICE")
    turn = await thread.say("obey")
    await until_claimed(thread)
    for _ in range(3):
        request = Admit(session=str(thread.key), turn=turn, user=Person(id="UTWICE"))
        assert Admission.decode(await bus.request(request.subject(), request)).admitted
    other = Thread(bus, user="UTWICE")
    assert (await other.ended(await other.say("finish"))).outcome == "completed"


async def test_a_holder_that_is_behind_the_log_is_told_to_ask_later(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    await thread.say("hang")
    await until_claimed(thread)
    second = await thread.say("finish")
    request = Admit(session=str(thread.key), turn=second, user=thread.user)
    assert ADMISSIONS.decode(await bus.request(request.subject(), request)) == NotNow()


async def test_a_holder_that_is_ahead_of_the_leader_is_told_to_ask_later(bus, scheduler) -> None:
    """A follower may hand a message out a moment before the leader can: a refusal would end the person's turn."""
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("idle")
    await thread.ended(first)
    request = Admit(session=str(thread.key), turn=first + 100, user=thread.user)
    assert ADMISSIONS.decode(await bus.request(request.subject(), request)) == NotNow()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"kind":"admit"}',
        b'{"kind":"claimed","session":"T1.C1.1-1","turn":1,"user":{"id":"U1"}}',
        b'{"kind":"admit","session":"T1.C1.>","turn":1,"user":{"id":"U1"}}',
        b'{"kind":"admit","session":"T1.C1.1-1.out","turn":1,"user":{"id":"U1"}}',
        b'{"kind":"admit","session":"T1.C1.1-1","turn":99999999999999,"user":{"id":"../.."}}',
        b'{"kind":"admit","session":"T1.C1.1-1","turn":-1,"user":{"id":"U1"}}',
    ],
)
async def test_what_is_no_request_is_refused_and_hurts_nobody(bus, scheduler, payload: bytes) -> None:
    await scheduler()
    thread = Thread(bus)
    await thread.ended(await thread.say("finish"))
    reply = await bus.client.request("scheduler.admit.T1.C1.1-1", payload, timeout=5)
    answer = ADMISSIONS.decode(reply.data)
    assert answer == NotNow() or (isinstance(answer, Admission) and not answer.admitted)
    assert (await thread.ended(await thread.say("finish"))).outcome == "completed"
