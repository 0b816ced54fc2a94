"""What an operator sees counted: what came to pass, however often a scheduler had to try or was told."""

import itertools

import pytest

from schemas.bus import SCHEDULER, SESSIONS
from services.runtime.errors import Conflict
from services.runtime.pull import Delivery
from services.scheduler.memories import Memories
from services.scheduler.metrics import DEATHS, REFUSED_TURNS, TURNS
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


@pytest.fixture
def a_faster_replica(monkeypatch) -> None:
    """Every other write of a memory comes too late."""
    put, writes = Memories.put, itertools.count()

    async def beaten(self, *arguments) -> int:
        if next(writes) % 2 == 0:
            raise Conflict("another replica was faster")
        return await put(self, *arguments)

    monkeypatch.setattr(Memories, "put", beaten)


@pytest.fixture
def lost_acknowledgements(monkeypatch) -> None:
    """Whatever the log tells the scheduler, it tells twice."""
    ack = Delivery.ack

    async def unheard(self) -> None:
        is_first = self.subject.startswith("session.") and self.deliveries == 1
        await (self.retry(0) if is_first else ack(self))

    monkeypatch.setattr(Delivery, "ack", unheard)


def counted(counter) -> float:
    return counter._value.get()


async def test_a_death_counts_once(bus, scheduler, a_faster_replica) -> None:
    before = counted(DEATHS)
    await scheduler()
    thread = Thread(bus)
    assert (await thread.ended(await thread.say("die 9"))).attempt == 3
    assert counted(DEATHS) - before == 3


async def test_a_hand_over_is_no_death(bus, scheduler) -> None:
    before = counted(DEATHS)
    await scheduler()
    thread = Thread(bus)
    await thread.ended(await thread.say("hand over"))
    assert counted(DEATHS) == before


@pytest.mark.parametrize("text", ["finish", "idle"], ids=["by a scheduler", "asked for by a holder"])
async def test_a_refusal_counts_once(bus, scheduler, a_faster_replica, text: str) -> None:
    before = counted(REFUSED_TURNS)
    await scheduler(turns_per_window=1)
    thread = Thread(bus)
    await thread.ended(await thread.say(text))
    assert (await thread.ended(await thread.say("finish"))).outcome == "rejected"
    assert counted(REFUSED_TURNS) - before == 1


async def test_an_end_counts_once_whoever_wrote_it(bus, scheduler, lost_acknowledgements) -> None:
    before = {outcome: counted(TURNS.labels(outcome)) for outcome in ("completed", "failed")}
    await scheduler(max_attempts=1)
    for text in ("finish", "die 9"):
        thread = Thread(bus)
        await thread.ended(await thread.say(text))

    async def worked_off() -> bool:
        info = await bus.api(f"CONSUMER.INFO.{SESSIONS.name}.{SCHEDULER.name}", None)
        return not info["num_pending"] and not info["num_ack_pending"]

    await until(worked_off)
    assert {outcome: counted(TURNS.labels(outcome)) - known for outcome, known in before.items()} == {
        "completed": 1,
        "failed": 1,
    }
