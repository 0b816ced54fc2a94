"""Sessions at a glance, which several replicas write."""

from datetime import timedelta

import pytest

from schemas.base import now
from schemas.buckets import OpenTurn, Summary, Turns
from schemas.bus import SUMMARIES
from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bus import Bus
from services.scheduler import conductor
from services.scheduler.core import Held
from services.scheduler.summaries import Summaries
from tests.scheduler.thread import Thread
from tests.scheduler.until import until

KEY, WHO = SessionKey("T1", "C1", "1-1"), Person(id="U1")
WORKING = Turns(open=OpenTurn(turn=1, user=WHO, opened_at=now(), deadline=now()))
HELD = Held(token=7, holder="w-1", revision=7, since=now(), ours=False, seen=now())
END = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=WHO, repo="acme/shop", branch="threadmill/1")


async def test_a_start_knows_the_repository_that_another_replica_wrote_down(bus) -> None:
    one, other = Summaries(bus), Summaries(bus)
    await one.reflect(KEY, WORKING, HELD)
    await other.ended(KEY, END)
    await one.reflect(KEY, WORKING, HELD)
    found = await one.of(KEY)
    assert found
    assert (found.repo, found.branch, found.user) == ("acme/shop", "threadmill/1", WHO)


async def followed(bus: Bus, thread: Thread) -> list[str]:
    """Return where every status will stand that the session is shown with."""
    statuses: list[str] = []

    async def note(message) -> None:
        statuses.append(Summary.decode(message.data).status)

    await bus.client.subscribe(f"$KV.{SUMMARIES.name}.{thread.key}", cb=note)
    return statuses


async def test_a_turn_that_lasts_is_shown_while_it_does(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    statuses = await followed(bus, thread)
    await thread.say("obey")
    await until(lambda: "working" in statuses)
    await thread.stop()
    await until(lambda: statuses[-1] == "idle")


async def test_a_turn_that_waits_is_shown_as_queued(bus, scheduler) -> None:
    await scheduler(max_workers=0)
    thread = Thread(bus)
    statuses = await followed(bus, thread)
    await thread.say("finish")
    await until(lambda: statuses == ["queued"])


async def test_a_turn_that_a_replica_ahead_of_time_opened_is_shown_at_once(
    bus, scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "now", lambda: now() - timedelta(hours=1))
    await scheduler(max_workers=0)
    thread = Thread(bus)
    statuses = await followed(bus, thread)
    await thread.say("finish")
    await until(lambda: statuses == ["queued"])


async def test_a_turn_that_is_over_in_a_moment_costs_one_write(
    bus, scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "MOMENT_SECONDS", 60.0)
    await scheduler()
    thread = Thread(bus)
    statuses = await followed(bus, thread)
    for _ in range(2):
        await thread.ended(await thread.say("finish"))
    await until(lambda: len(statuses) == 2)
    assert statuses == ["idle", "idle"]
