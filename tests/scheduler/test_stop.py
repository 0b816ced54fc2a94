"""Stop, Continue, Close, and messages that are deleted while they wait."""

import asyncio
import time

import pytest

from schemas.base import now
from schemas.buckets import Lease, Summary, Turns
from schemas.bus import LEASES, SUMMARIES, TURNS
from schemas.events import Paused
from services.runtime.bucket import Bucket
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def until_claimed(thread: Thread, claims: int = 1) -> None:
    async def claimed() -> bool:
        return await thread.claims() >= claims

    await until(claimed)


async def until_started(thread: Thread, starts: int = 1) -> None:
    async def started() -> bool:
        return await thread.starts() >= starts

    await until(started)


async def is_free(thread: Thread) -> bool:
    return (await Bucket(thread.bus, LEASES.name, Lease).get(str(thread.key))).value is None


async def know_holder(replicas: list, thread: Thread, holder: str) -> bool:
    held = [replica.service._leases.held(thread.key) for replica in replicas]
    return all(each and each.holder == holder for each in held)


async def is_paused(thread: Thread, *, told: bool) -> bool:
    memory = (await Bucket(thread.bus, TURNS.name, Turns).get(str(thread.key))).value
    return memory is not None and memory.paused and (memory.untold_since == 0) is told


async def nothing_more_ends(thread: Thread, ends: int) -> None:
    await asyncio.sleep(0.5)
    assert len(await thread.ends()) == ends


async def test_the_worker_obeys_and_what_waits_goes_on_with_continue(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    first = await thread.say("obey")
    await until_claimed(thread)
    second = await thread.say("finish")
    await thread.stop()
    assert (await thread.ended(first)).outcome == "cancelled"
    await nothing_more_ends(thread, 1)
    await thread.go_on()
    assert (await thread.ended(second)).outcome == "completed"
    assert not replica.launcher.killed


async def test_the_next_message_lets_the_queue_go_on_too(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("obey")
    await until_claimed(thread)
    second = await thread.say("obey")
    await thread.stop()
    await thread.ended(first)
    third = await thread.say("finish")
    await until_claimed(thread, 2)
    await thread.stop()
    assert (await thread.ended(second)).outcome == "cancelled"
    await nothing_more_ends(thread, 2)
    await thread.go_on()
    assert (await thread.ended(third)).outcome == "completed"


async def test_a_worker_that_does_not_obey_is_killed_and_its_turn_ended(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    turn = await thread.say("hang")
    await until_started(thread)
    before = time.monotonic()
    await thread.stop()
    end = await thread.ended(turn)
    assert (end.outcome, end.state_complete) == ("cancelled", False)
    assert 0.9 < time.monotonic() - before < 10
    assert len(replica.launcher.killed) == 1


async def test_a_turn_with_more_words_than_fit_into_a_message_is_ended_with_the_last_of_them(
    bus, scheduler
) -> None:
    await scheduler()
    thread = Thread(bus)
    turn = await thread.say("talk, then hang")
    await until(lambda: thread.has("the last words"))
    await thread.stop()
    end = await thread.ended(turn)
    assert end.outcome == "cancelled"
    assert end.text.endswith("xxx\n\nthe last words")
    assert await thread.claims() == 2


async def test_what_a_stopped_turn_cost_before_it_was_handed_over_is_told(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    turn = await thread.say("hand over, then hang")
    await until_started(thread, 2)
    await thread.stop()
    end = await thread.ended(turn)
    assert (end.outcome, end.cost_usd, end.state_complete) == ("cancelled", 0.25, False)
    assert end.duration_ms > 0


async def test_a_stop_that_comes_late_leaves_what_was_said_after_it_alone(bus, scheduler) -> None:
    await scheduler(max_workers=1, warm=0)
    busy, waiting = Thread(bus), Thread(bus)
    await busy.say("hang")
    await until_claimed(busy)
    pressed = now()
    turn = await waiting.say("finish")
    await waiting.stop(at=pressed)
    await nothing_more_ends(waiting, 0)
    await waiting.stop()
    assert (await waiting.ended(turn)).outcome == "cancelled"


async def test_without_a_worker_the_scheduler_ends_the_turn(bus, scheduler) -> None:
    await scheduler(max_workers=1, warm=0)
    busy, waiting = Thread(bus), Thread(bus)
    await busy.say("hang")
    await until_claimed(busy)
    turn = await waiting.say("finish")
    before = time.monotonic()
    await waiting.stop(at=(pressed := now()))
    end = await waiting.ended(turn)
    assert (end.outcome, end.inputs, end.pressed_at) == ("cancelled", (turn,), pressed)
    assert (end.duration_ms, end.state_complete) == (0, True)
    assert time.monotonic() - before < 5


async def test_a_stop_never_touches_a_later_turn(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    await thread.ended(await thread.say("finish"))
    await thread.stop()
    assert (await thread.ended(await thread.say("finish"))).outcome == "completed"


@pytest.mark.parametrize("told", [False, True])
async def test_people_are_told_once_that_their_words_wait_though_the_worker_left_or_died_meanwhile(
    bus, scheduler, told: bool
) -> None:
    """A worker holds the session between two turns, and leaves before or after it `told` them."""
    replicas = [await scheduler(), await scheduler()]
    thread, leases = Thread(bus), Bucket(bus, LEASES.name, Lease)
    await thread.ended(await thread.say("finish"))
    await until(lambda: is_free(thread))
    lease = await leases.create(str(thread.key), Lease(holder="w-9"))
    await until(lambda: know_holder(replicas, thread, "w-9"))
    claims, second = await thread.claims(), await thread.say("finish")
    await thread.stop()
    await until(lambda: is_paused(thread, told=False))
    if told:
        await thread.put(Paused())
    await leases.delete(str(thread.key), lease)
    await until(lambda: is_paused(thread, told=True))
    assert await thread.pauses() == 1
    assert (await thread.claims() > claims) is not told
    await nothing_more_ends(thread, 1)
    await thread.go_on()
    assert (await thread.ended(second)).outcome == "completed"
    assert await thread.pauses() == 1


async def test_a_deleted_message_that_waits_is_never_started(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("obey")
    await until_claimed(thread)
    second = await thread.say("finish")
    third = await thread.say("finish")
    await thread.stop()
    await thread.ended(first)
    await thread.delete(second)
    await thread.go_on()
    assert (await thread.ended(third)).inputs == (third,)
    assert [end.turn for end in await thread.ends()] == [first, third]


async def test_a_deleted_message_in_line_for_a_worker_is_cancelled(bus, scheduler) -> None:
    await scheduler(max_workers=1, warm=0)
    busy, waiting = Thread(bus), Thread(bus)
    await busy.say("hang")
    await until_claimed(busy)
    turn = await waiting.say("finish")
    await waiting.delete(turn)
    assert (await waiting.ended(turn)).outcome == "cancelled"


async def test_close_sends_an_idle_worker_away(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    await thread.ended(await thread.say("idle"))
    await thread.close()
    summaries = Bucket(bus, SUMMARIES.name, Summary)

    async def closed() -> bool:
        summary = (await summaries.get(str(thread.key))).value
        return summary is not None and summary.status == "closed"

    await until(lambda: is_free(thread))
    await until(closed)
    assert len(replica.launcher.retired) == 1
