"""Workers die, hand over, vanish; the broker goes away: every turn still ends once."""

import asyncio
import time

import pytest

from schemas.buckets import Lease, RateWindow, Summary
from schemas.bus import LEASE_LIFE, LEASES, RATELIMITS, SUMMARIES
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.scheduler.dismissal import Dismissal
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def test_a_dead_worker_is_replaced_at_once(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    before = time.monotonic()
    end = await thread.ended(await thread.say("die 1"), within=20)
    assert (end.outcome, end.attempt) == ("completed", 2)
    assert time.monotonic() - before < LEASE_LIFE - 5


async def test_the_third_death_fails_the_turn_and_costs_no_quota(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus, user="UDEATH")
    end = await thread.ended(await thread.say("die 9"))
    assert (end.outcome, end.attempt, end.ours) == ("failed", 3, True)
    assert end.agent == "scripted"

    async def given_back() -> bool:
        window = (await Bucket(bus, RATELIMITS.name, RateWindow).get("T1.UDEATH")).value
        return window is not None and not window.starts

    await until(given_back)
    summary = (await Bucket(bus, SUMMARIES.name, Summary).get(str(thread.key))).value
    assert summary is not None
    assert (summary.turns, summary.last_outcome, summary.agent) == (1, "failed", "scripted")


async def test_a_hand_over_is_no_attempt(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    end = await thread.ended(await thread.say("hand over"))
    assert (end.outcome, end.attempt) == ("completed", 1)
    assert await thread.claims() == 2


async def test_what_a_dead_worker_had_taken_is_in_the_end_that_the_scheduler_writes(bus, scheduler) -> None:
    await scheduler(max_attempts=1)
    thread = Thread(bus)
    turn = await thread.say("take and die")
    taken = await thread.say("this too")
    end = await thread.ended(turn)
    assert (end.outcome, end.inputs) == ("failed", (turn, taken))
    assert len(await thread.ends()) == 1


async def test_a_turn_without_end_is_ended_at_its_deadline(bus, scheduler) -> None:
    replica = await scheduler(turn_seconds=5, deadline_grace=0.5)
    thread = Thread(bus)
    end = await thread.ended(await thread.say("hang"), within=30)
    assert end.outcome == "timed_out"
    assert replica.launcher.killed


async def test_a_broker_that_was_away_for_long_makes_nobody_dead(bus, broker, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    turn = await thread.say("obey")

    async def started() -> bool:
        return await thread.starts() == 1

    await until(started)
    await broker.kill()
    await asyncio.sleep(LEASE_LIFE + 1)
    await broker.start()
    await asyncio.sleep(2)
    await thread.stop()
    end = await thread.ended(turn)
    assert (end.outcome, end.attempt) == ("cancelled", 1)
    assert await thread.claims() == 1
    assert not replica.launcher.killed


async def test_a_lease_that_nobody_renews_is_noticed_though_nobody_says_so(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    turn = await thread.say("freeze 1")
    end = await thread.ended(turn, within=LEASE_LIFE + 20)
    assert (end.outcome, end.attempt) == ("completed", 2)
    assert not replica.launcher.killed


async def take_lease_away(bus, thread: Thread) -> None:
    leases = Bucket(bus, LEASES.name, Lease)
    await leases.delete(str(thread.key), (await leases.get(str(thread.key))).revision)


async def test_a_worker_that_does_not_leave_without_its_lease_loses_its_place(
    bus, scheduler, monkeypatch
) -> None:
    monkeypatch.setattr("services.scheduler.dismissal.ENTERING_SECONDS", 1.0)
    replica = await scheduler(deadline_grace=0.2, max_workers=1, warm=0)
    thread = Thread(bus)
    await thread.say("hang")
    await until_claimed(thread)
    (name,) = replica.launcher.launched
    await take_lease_away(bus, thread)
    # The next attempt needs the only place that there is.
    await until_claimed(thread, 2)
    assert replica.launcher.killed == [name]


async def test_one_that_takes_its_time_to_leave_holds_up_no_other(bus, scheduler, monkeypatch) -> None:
    slow, remove, asked = Thread(bus), Dismissal._remove, asyncio.Event()

    async def late(self: Dismissal, key: SessionKey, former: str) -> None:
        if key == slow.key:
            asked.set()
            await asyncio.Event().wait()
        await remove(self, key, former)

    monkeypatch.setattr(Dismissal, "_remove", late)
    monkeypatch.setattr("services.scheduler.dismissal.ENTERING_SECONDS", 0.1)
    replica = await scheduler(deadline_grace=0.2, warm=0)
    await slow.say("hang")
    await until_claimed(slow)
    await take_lease_away(bus, slow)
    await asked.wait()
    thread = Thread(bus)
    await thread.say("hang")
    await until_claimed(thread)
    await take_lease_away(bus, thread)
    await until(lambda: replica.launcher.killed)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_deaths_before_the_last_attempt_do_not_end_the_turn(bus, scheduler, attempts: int) -> None:
    await scheduler()
    thread = Thread(bus)
    assert (await thread.ended(await thread.say(f"die {attempts}"))).attempt == attempts + 1
