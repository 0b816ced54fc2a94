"""Pulling and following: silence is noticed, nothing is asked for too early, a watch outlives its broker."""

import asyncio
import contextlib

import pytest

from schemas.buckets import Lease
from schemas.bus import LEASE_LIFE, pool_consumer
from schemas.events import Notice
from schemas.keys import SessionKey
from services.local.broker import Broker
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict
from services.runtime.follow import Follow
from services.runtime.pull import SILENCE, Pull, Silent
from services.runtime.tasks import cancel

PATIENCE = 30.0
POOL = pool_consumer("default")


async def put_work(bus: Bus, text: str) -> None:
    await bus.publish(Draft(subject="work.default", message=Notice(text=text)))


async def bury(bus: Bus, text: str) -> None:
    await bus.publish(Draft(subject="dead.tester.x", message=Notice(text=text)))


async def test_a_consumer_that_is_not_there_is_silent(bus: Bus) -> None:
    async with asyncio.timeout(PATIENCE), Pull(bus.client, "WORK", "nobody") as pull:
        with pytest.raises(Silent):
            await anext(aiter(pull))


async def test_heartbeats_that_stop_are_noticed_and_those_that_come_are_no_message(
    bus: Bus, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "services.runtime.pull.SILENCE", 4.0
    )  # on a machine that is held up, heartbeats are late
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE), Pull(bus.client, "WORK", POOL.name) as pull:
        waiting = asyncio.ensure_future(anext(aiter(pull)))
        done, _ = await asyncio.wait({waiting}, timeout=6)
        assert not done
        await broker.kill()
        killed = loop.time()
        with pytest.raises(Silent):
            await waiting
        assert loop.time() - killed < 10 * SILENCE
        await broker.start()


async def test_a_consumer_deleted_under_a_pull_is_noticed_at_once(bus: Bus) -> None:
    async with asyncio.timeout(PATIENCE), Pull(bus.client, "WORK", POOL.name) as pull:
        waiting = asyncio.ensure_future(anext(aiter(pull)))
        await bus.client.flush()
        await bus.api(f"CONSUMER.DELETE.WORK.{POOL.name}", None)
        with pytest.raises(Silent):
            await waiting


async def in_hand(bus: Bus) -> int:
    info = await bus.api(f"CONSUMER.INFO.WORK.{POOL.name}", None)
    return int(info["num_ack_pending"])


async def test_who_does_not_ask_ahead_holds_one_and_leaves_the_others_to_others(bus: Bus) -> None:
    for n in range(3):
        await put_work(bus, str(n))
    async with asyncio.timeout(PATIENCE), Pull(bus.client, "WORK", POOL.name, batch=1, ahead=False) as pull:
        mine = aiter(pull)
        first = await anext(mine)
        assert await in_hand(bus) == 1
        async with Pull(bus.client, "WORK", POOL.name, batch=1, ahead=False) as other:
            second = await anext(aiter(other))
        assert await in_hand(bus) == 2
        third = await anext(mine)
    assert [Notice.decode(delivery.data).text for delivery in (first, second, third)] == ["0", "1", "2"]


async def test_a_watch_goes_on_over_a_broker_that_died_and_misses_no_change(bus: Bus, broker: Broker) -> None:
    turns = Bucket(bus, "turns", Lease)
    seen: dict[str, Entry[Lease]] = {}
    complete = asyncio.Event()

    async def watch() -> None:
        async with contextlib.aclosing(turns.watch()) as entries:
            async for entry in entries:
                if entry:
                    seen[entry.key] = entry
                if {"a", "b", "c"} <= seen.keys() and seen["a"].value is None:
                    complete.set()

    kept = await turns.create("a", Lease(holder="one"))
    watching = asyncio.create_task(watch())
    await turns.create("b", Lease(holder="two"))
    await broker.kill()
    await broker.start()
    await turns.create("c", Lease(holder="three"))
    await turns.delete("a", kept)
    await asyncio.wait_for(complete.wait(), PATIENCE)
    await cancel(watching)
    assert [seen[key].value and seen[key].value.holder for key in "abc"] == [None, "two", "three"]  # type: ignore[union-attr]


async def test_who_follows_only_what_is_new_misses_nothing_while_the_broker_is_away(
    bus: Bus, broker: Broker
) -> None:
    await bury(bus, "old")
    following = Follow(bus, "DEADLETTER", ["dead.>"], start="new").deliveries()
    other = Bus(await open_connection(BusSettings(url=broker.url), "other", lambda: None))
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(following) as deliveries:
        assert await anext(deliveries) is None
        waiting = asyncio.ensure_future(anext(deliveries))
        await broker.kill()
        await broker.start()
        await bury(other, "new")
        heard = await waiting
        while heard is None:
            heard = await anext(deliveries)
        assert Notice.decode(heard.data).text == "new"
    await close_connection(other.client)


@pytest.mark.timeout(180)
async def test_a_lease_that_nobody_renews_is_free_when_its_life_is_over(bus: Bus) -> None:
    key = str(SessionKey("T1", "C1", "1-1"))
    leases = Bucket(bus, "leases", Lease)
    loop = asyncio.get_running_loop()
    first = await leases.create(key, Lease(holder="a"))
    await asyncio.sleep(LEASE_LIFE / 3)
    renewed = await leases.put(key, Lease(holder="a", token=first), first)
    since = loop.time()
    while True:
        try:
            second = await leases.create(key, Lease(holder="b"))
            break
        except Conflict:
            assert loop.time() - since < 3 * LEASE_LIFE
            await asyncio.sleep(0.25)
    assert loop.time() - since >= LEASE_LIFE - 0.5
    assert second > renewed
    with pytest.raises(Conflict):
        await leases.put(key, Lease(holder="a", token=first), renewed)


async def test_what_comes_after_a_long_outage_is_delivered_at_once(bus: Bus, broker: Broker) -> None:
    """Pulls that were given up while the broker was away swallow nothing when it is back."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def work() -> None:
        while True:
            with contextlib.suppress(Silent):
                async with Pull(bus.client, POOL.stream, POOL.name) as pull:
                    async for delivery in pull:
                        await delivery.ack()
                        heard.put_nowait(Notice.decode(delivery.data).text)

    working = asyncio.create_task(work())
    await put_work(bus, "before")
    assert await asyncio.wait_for(heard.get(), PATIENCE) == "before"
    await broker.kill()
    await asyncio.sleep(4 * SILENCE)
    await broker.start()
    await put_work(bus, "after")
    async with asyncio.timeout(POOL.ack_wait / 2):
        while await heard.get() != "after":
            pass
    await cancel(working)
