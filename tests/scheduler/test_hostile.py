"""What nobody should have written into a log or asked for: it is put aside and counted, and the next turn ends as any."""

import asyncio
import contextlib
import itertools

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.ends import TurnEnd
from schemas.operations import DeadLetter
from schemas.people import Person
from schemas.work import ADMISSIONS, Admission, NotNow
from services.runtime.bus import Bus
from services.runtime.follow import Follow, read
from services.runtime.metrics import REFUSED
from tests.mutations import golden, mutated, strangers
from tests.scheduler.conftest import Start
from tests.scheduler.thread import Thread

FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
_numbers = itertools.count(1)


async def write(bus: Bus, thread: Thread, leaf: str, payload: bytes) -> int:
    place = leaf if leaf == "control" else f"{leaf}.{next(_numbers)}"
    return await bus.publish_raw(f"session.{thread.key}.{place}", payload, {})


@FEW
@given(written=strangers("in", "control", "end"))
async def test_a_turn_behind_strange_messages_ends(
    bus: Bus, scheduler: Start, lasting: None, written: list[tuple[str, bytes]]
) -> None:
    thread = Thread(bus)
    for leaf, payload in written:
        await write(bus, thread, leaf, payload)
    assert (await answered(bus, thread, await thread.say("finish"))).outcome == "completed"


async def test_an_end_of_nobody_is_put_aside_and_blocks_nothing_behind_it(
    bus: Bus, scheduler: Start, lasting: None
) -> None:
    thread = Thread(bus)
    end = TurnEnd(turn=7, outcome="failed", inputs=(7,), user=Person(id="no body"), ours=True)
    await write(bus, thread, "end", end.encode())
    await answered(bus, thread, await thread.say("finish"))
    (letter,) = [DeadLetter.decode(each.data) for each in await read(bus, "DEADLETTER", ["dead.>"])]
    assert "'no body' is not a name" in letter.reason


async def test_a_worker_that_garbles_its_lease_harms_nobody_else(
    bus: Bus, scheduler: Start, lasting: None
) -> None:
    garbled, thread = Thread(bus), Thread(bus)
    await bus.publish_raw(f"$KV.leases.{garbled.key}", b'{"holder": 7}', {})
    for other in (thread, garbled):
        assert (await answered(bus, other, await other.say("finish"))).outcome == "completed"


@FEW
@given(payload=mutated(golden("work.admit") | {"session": "T1.C1.1-1"}))
async def test_a_strange_request_for_admission_gets_its_answer(
    bus: Bus, scheduler: Start, lasting: None, payload: bytes
) -> None:
    before = refused()
    answer = ADMISSIONS.decode(
        (await bus.client.request("scheduler.admit.T1.C1.1-1", payload, timeout=5)).data
    )
    if answer == NotNow():  # of a turn that the log may still come to
        assert refused() == before
    else:
        assert isinstance(answer, Admission)
        assert not answer.admitted
        assert refused() == before + ("cannot be read" in answer.reason)
    await answered(bus, thread := Thread(bus), await thread.say("finish"))


def refused() -> float:
    return REFUSED.labels("scheduler", "admit")._value.get()


async def answered(bus: Bus, thread: Thread, sequence: int) -> TurnEnd:
    """The end of the turn that took the input at `sequence`."""
    follow = Follow(bus, "SESSIONS", [f"session.{thread.key}.end.*"], after=sequence)
    async with asyncio.timeout(10), contextlib.aclosing(follow.deliveries()) as ends:
        async for delivery in ends:
            if delivery and sequence in (end := TurnEnd.decode(delivery.data)).inputs:
                return end
    raise AssertionError


@pytest.fixture
async def lasting(bus: Bus, scheduler: Start) -> None:
    """One scheduler for all examples of a test, which works already."""
    await scheduler(turns_per_window=1_000_000, max_workers=16, warm=2)
    thread = Thread(bus)
    await answered(bus, thread, await thread.say("finish"))
