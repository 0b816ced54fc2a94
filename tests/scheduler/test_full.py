"""A turn whose end the scheduler cannot write, for whatever reason: it ends as soon as it can."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from schemas.bus import DEADLETTER
from services.runtime import consume
from services.runtime.consume import MAX_DELIVERIES
from services.runtime.errors import StreamFull
from services.runtime.follow import read
from services.scheduler import agenda, conductor
from services.scheduler.ending import Ending
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from tests.full import full_log
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


class Ends:
    """The ends that the scheduler began to write, and wrote, and its log; each fails with `fault` while there is one."""

    def __init__(self, logged: list[EventDict]) -> None:
        self.begun = self.written = 0
        self.fault: Exception | None = None
        self.logged = logged


@pytest.fixture
def ends(monkeypatch) -> Iterator[Ends]:
    for module, name in ((consume, "RETRY_SECONDS"), (agenda, "AGAIN_SECONDS"), (conductor, "AGAIN_SECONDS")):
        monkeypatch.setattr(module, name, 0.05)
    end = Ending.end

    async def noted(self, *arguments) -> bool:
        ends.begun += 1
        if ends.fault:
            raise ends.fault
        written = await end(self, *arguments)
        ends.written += written
        return written

    monkeypatch.setattr(Ending, "end", noted)
    with capture_logs() as logged:
        ends = Ends(logged)
        yield ends


@pytest.fixture
def nobody(broker) -> TaskLauncher:
    """A launcher whose workers never come: whatever ends, the scheduler ends."""
    launcher = TaskLauncher(broker.url)
    launcher.away = True
    return launcher


async def hear_of_no_write(memories: Memories) -> None:
    """Follow nothing: a replica's own writes are no news to it, unless it hears of them early."""
    memories.loaded.set()
    await asyncio.Event().wait()


async def letters(bus) -> int:
    return len(await read(bus, DEADLETTER.name, ["dead.scheduler.>"]))


async def test_a_turn_that_the_full_log_keeps_open_ends_when_there_is_room(
    bus, scheduler, nobody, ends
) -> None:
    thread = Thread(bus)
    turn = await thread.say("finish")
    await thread.stop()
    async with full_log(bus):
        await scheduler(nobody)
        await until(lambda: ends.begun > 3 * MAX_DELIVERIES)
    assert (await thread.ended(turn)).outcome == "cancelled"
    assert await letters(bus) == 0
    assert "error" not in {each["log_level"] for each in ends.logged}


async def test_an_end_that_is_written_is_one_though_the_lease_cannot_be_given_back(
    bus, scheduler, nobody, ends, monkeypatch
) -> None:
    async def no_room(*arguments) -> None:
        raise StreamFull("no room")

    monkeypatch.setattr(Leases, "release", no_room)
    thread = Thread(bus)
    turn = await thread.say("finish")
    await thread.stop()
    await scheduler(nobody)
    assert (await thread.ended(turn)).outcome == "cancelled"
    await until(lambda: ends.written)
    assert ends.begun == 1


async def test_a_turn_whose_stop_became_a_dead_letter_ends_all_the_same(
    bus, scheduler, nobody, ends, monkeypatch
) -> None:
    monkeypatch.setattr(Memories, "run", hear_of_no_write)
    thread = Thread(bus)
    ends.fault = ZeroDivisionError("of all things")
    turn = await thread.say("finish")
    await thread.stop()
    await scheduler(nobody)

    async def buried() -> bool:
        return await letters(bus) == 1

    await until(buried)
    ends.fault = None
    assert (await thread.ended(turn)).outcome == "cancelled"
