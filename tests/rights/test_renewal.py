"""A credential is renewed for as long as its session is held, or its pool waited in; and no longer."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from schemas.buckets import Lease
from schemas.bus import LEASES, pool_consumer
from schemas.credentials import Credential
from schemas.events import Notice
from schemas.rights import inbox
from schemas.worker_rights import pool_rights
from services.runtime import proof
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Unavailable
from services.runtime.follow import read
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.scheduler import credentials
from services.scheduler.grants import Grants
from services.worker import renewal
from services.worker.assignment import take
from services.worker.entering import SessionBus
from tests.rights.conftest import PATIENCE, Guarded
from tests.rights.entering import MINE, assign, enter, nothing, pool, took, working


async def test_a_renewed_credential_loses_nothing_that_is_under_way(
    guarded: Guarded, scheduler: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(guarded, scheduler) as (_, taken):
        monkeypatch.setattr(credentials, "LIFE_SECONDS", 100.0)
        bus = taken.bus
        assert isinstance(bus, SessionBus)
        before = bus.renewal.proof.jwt
        last = 0
        for number in range(40):
            notice = Notice(text=str(number))
            writing = bus.publish(Draft(subject=notice.subject(MINE), message=notice, fence=Fence(last)))
            if number % 10 == 5:
                last, _ = await asyncio.gather(writing, bus.renewal.renew())
            else:
                last = await writing
        assert bus.renewal.proof.jwt != before
        stored = await read(bus, "SESSIONS", [f"session.{MINE}.out"])
        assert [Notice.decode(each.data).text for each in stored] == [str(number) for number in range(40)]


async def test_a_session_that_is_anothers_now_is_not_renewed(guarded: Guarded, scheduler: Bus) -> None:
    async with working(guarded, scheduler) as (_, taken):
        leases = Bucket(scheduler, LEASES.name, Lease)
        entry = await leases.get(str(MINE))
        await leases.put(str(MINE), Lease(holder="w-2"), entry.revision)
        assert isinstance(taken.bus, SessionBus)
        with pytest.raises(Unavailable, match="not this worker's any more"):
            await taken.bus.renewal.renew()


async def test_a_credential_that_is_not_renewed_ends(
    guarded: Guarded, scheduler: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = asyncio.Event()
    monkeypatch.setattr(credentials, "LIFE_SECONDS", 6.0)
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting:
        delivery = await took(waiting.bus.client)
        key = NKey.generate("user")
        word = await enter(waiting, "w-1", delivery.reply, user=key.public)
        assert isinstance(word, Credential)
        client = await open_connection(
            BusSettings(url=guarded.broker.url),
            "w-1",
            closed.set,
            inbox=inbox("w-1"),
            proof=Proof(key, word.jwt),
        )
        async with asyncio.timeout(2 * PATIENCE):
            await closed.wait()
        assert client.is_closed


async def test_whose_credential_ran_out_while_the_broker_was_away_leaves_at_its_return(
    guarded: Guarded,
) -> None:
    closed = asyncio.Event()
    guarded.hire(pool_rights("default", "w-1"), seconds=8)
    shown = Proof.read(guarded.keys.of("w-1"))
    settings = BusSettings(url=guarded.broker.url)
    client = await open_connection(settings, "w-1", closed.set, inbox=inbox("w-1"), proof=shown)
    await guarded.broker.stop()
    await client.publish("scheduler.enter.w-1", b"what waits for the broker")
    async with asyncio.timeout(2 * PATIENCE):
        while not shown.over:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
        # In the second in which it ends, a broker still lets it in.
        await asyncio.sleep(1.1)
        assert not closed.is_set()
        await guarded.broker.start()
        await closed.wait()
    assert client.is_closed


async def test_a_worker_that_is_gone_is_renewed_no_more(guarded: Guarded, scheduler: Bus) -> None:
    async with working(guarded, scheduler) as (_, taken):
        await Grants(scheduler, required=True).end("w-1")
        assert isinstance(taken.bus, SessionBus)
        with pytest.raises(Unavailable, match="not this worker's any more"):
            await taken.bus.renewal.renew()


@pytest.mark.parametrize("ahead", [0, 3600, -3600])
async def test_a_renewal_in_the_pool_costs_the_next_assignment_nothing(
    guarded: Guarded, scheduler: Bus, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Nor does it depend on the worker's clock, which may be `ahead` of the scheduler's by some seconds."""
    clock = SimpleNamespace(time=lambda: time.time() + ahead, monotonic=time.monotonic)
    for module in (proof, renewal):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(credentials, "POOL_SECONDS", 8.0)
    monkeypatch.setattr(renewal, "AGAIN_SECONDS", 1.0)
    async with pool(guarded, "w-1") as waiting:
        assert waiting.renewal
        before = waiting.renewal.proof.jwt
        taking = asyncio.create_task(
            take(waiting.bus, "default", "w-1", waiting.enter, waiting.renewal, ahead=nothing)
        )
        async with asyncio.timeout(2 * PATIENCE):
            while waiting.renewal.proof.jwt == before:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        await assign(scheduler, MINE)
        began = time.monotonic()
        taken = await asyncio.wait_for(taking, PATIENCE)
        assert time.monotonic() - began < pool_consumer("default").ack_wait / 2
        await close_connection(taken.bus.client)


async def test_in_the_pool_a_credential_is_renewed_and_in_the_session_that_for_the_pool_is_not(
    guarded: Guarded, scheduler: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool(guarded, "w-1") as waiting:
        monkeypatch.setattr(credentials, "POOL_SECONDS", 200.0)
        assert waiting.renewal
        before = waiting.renewal.proof.jwt
        await waiting.renewal.renew()
        assert waiting.renewal.proof.jwt != before
        await assign(scheduler, MINE)
        delivery = await took(waiting.bus.client)
        assert isinstance(await enter(waiting, "w-1", delivery.reply), Credential)
        with pytest.raises(Unavailable, match="has its session already"):
            await waiting.renewal.renew()
