"""From the pool into one session, by a real scheduler's word: once, for that session, for as long as it is held."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from nats.aio.client import Client

from schemas.base import now
from schemas.buckets import Lease
from schemas.bus import LEASES, pool_consumer
from schemas.credentials import CREDENTIALS, READERS, Credential, Denied, Enter, OpenReader, Reader, Renew
from schemas.events import Notice
from schemas.inputs import Said, Stop
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.rights import inbox
from schemas.work import Assignment
from schemas.worker_rights import NEXT, reader, session_rights
from services.runtime import proof
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict, Unavailable
from services.runtime.follow import Follow, read
from services.runtime.issuer import Issuer
from services.runtime.lifecycle import cancel
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.runtime.pull import Delivery, Pull
from services.runtime.readers import OwnReaders
from services.scheduler import credentials
from services.scheduler.grants import Grants
from services.worker import renewal
from services.worker.assignment import Enter as Entering
from services.worker.assignment import Spent, Taken, take
from services.worker.entering import Pool, SessionBus
from services.worker.happenings import Happening, StopHeard
from services.worker.hearing import Hearing
from services.worker.settings import WorkerSettings
from tests.rights.conftest import PATIENCE, Guarded

MINE = SessionKey("T1", "C1", "1-1")
OTHER = SessionKey("T1", "C1", "2-2")
ADA = Person(id="U1")


@pytest.fixture
async def scheduler(guarded: Guarded) -> AsyncIterator[Bus]:
    """The part of a scheduler that lets workers in, on a connection with the scheduler's rights."""
    async with guarded.client("scheduler") as client:
        bus = Bus(client)
        issuer = Issuer.read(guarded.keys.workers)
        tasks = [
            asyncio.create_task(each.run())
            for each in credentials.Credentials(bus, issuer, Grants(bus, required=True)).requests()
        ]
        await asyncio.sleep(0)
        await client.flush()
        yield bus
        await cancel(*tasks)


async def assign(bus: Bus, key: SessionKey, turn: int = 1) -> int:
    expires = now() + timedelta(seconds=60)
    work = Assignment(session=str(key), turn=turn, attempt=1, pool="default", user=ADA, expires_at=expires)
    return await bus.publish(Draft(subject=work.subject(), message=work))


@contextlib.asynccontextmanager
async def pool(guarded: Guarded, worker: str) -> AsyncIterator[Pool]:
    """A worker that waits in its pool with what its launcher gave it."""
    issuer = Issuer.read(guarded.keys.workers)
    guarded.keys.of(worker).write_text(credentials.boot_creds(issuer, "default", worker))
    settings = WorkerSettings(worker=worker, data=Path("/nowhere"), nats=BusSettings(url=guarded.broker.url))
    waiting = await Pool.guarded(settings, Proof.read(guarded.keys.of(worker)), lambda: None)
    try:
        yield waiting
    finally:
        await waiting.leave()


@contextlib.asynccontextmanager
async def working(guarded: Guarded, scheduler: Bus, worker: str = "w-1") -> AsyncIterator[tuple[Pool, Taken]]:
    """A worker that took the assignment of the session `MINE`."""
    await assign(scheduler, MINE)
    async with pool(guarded, worker) as waiting, asyncio.timeout(PATIENCE):
        taken = await take(waiting.bus, "default", worker, waiting.enter)
        try:
            yield waiting, taken
        finally:
            await close_connection(taken.bus.client)


async def took(client: Client) -> Delivery:
    """Take the next assignment from the pool, and no step more."""
    consumer = pool_consumer("default")
    async with Pull(client, consumer.stream, consumer.name, batch=1, ahead=False) as pull:
        async for delivery in pull:
            return delivery
    raise AssertionError("pulling never ends")


async def done(bus: Bus) -> None:
    """Wait until no assignment is left."""
    async with asyncio.timeout(PATIENCE):
        while (await bus.api("STREAM.INFO.WORK", None))["state"]["messages"]:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def enter(pool: Pool, worker: str, ack: str, user: str = "") -> object:
    request = Enter(user=user or NKey.generate("user").public, ack=ack)
    return CREDENTIALS.decode(await pool.bus.request(Enter.subject(worker), request))


async def test_a_worker_comes_into_its_session_and_writes_its_log(guarded: Guarded, scheduler: Bus) -> None:
    async with working(guarded, scheduler) as (_, taken):
        notice = Notice(text="hello")
        draft = Draft(subject=notice.subject(MINE), message=notice, fence=Fence(0))
        assert await taken.bus.publish(draft) == 1
        with pytest.raises(Conflict):
            await taken.bus.publish(Draft(subject=notice.subject(MINE), message=notice, fence=Fence(0)))
        last = await taken.bus.last("SESSIONS", notice.subject(MINE))
        assert last is not None
        assert last.sequence == 1
        await done(scheduler)


async def test_a_retry_of_its_own_is_no_conflict(guarded: Guarded, scheduler: Bus) -> None:
    async with working(guarded, scheduler) as (_, taken):
        notice = Notice(text="hello")
        draft = Draft(subject=notice.subject(MINE), message=notice, fence=Fence(0), id="one")
        assert [await taken.bus.publish(draft) for _ in range(2)] == [1, 1]


async def test_it_reads_its_session_by_consumers_that_are_made_for_it(
    guarded: Guarded, scheduler: Bus
) -> None:
    async with guarded.client("ingress") as client, working(guarded, scheduler) as (_, taken):
        said = [Said(id=f"m-{n}", user=ADA, text="x") for n in range(3)]
        ingress = Bus(client)
        for key in (MINE, OTHER):
            await ingress.publish(Draft(subject=said[0].subject(key), message=said[0], fence=Fence(0)))
        filters = [f"session.{MINE}.{leaf}" for leaf in ("in.*", "control", "end.*")]
        assert [each.subject for each in await read(taken.bus, "SESSIONS", filters)] == [
            said[0].subject(MINE)
        ]
        follow = Follow(taken.bus, "SESSIONS", filters)
        async with contextlib.aclosing(follow.deliveries()) as deliveries, asyncio.timeout(PATIENCE):
            assert (await anext(deliveries)) is not None
            assert (await anext(deliveries)) is None
            # The broker's node died with it: it is made anew, and nothing comes twice.
            await scheduler.api("CONSUMER.DELETE.SESSIONS.w-1-log", None)
            await ingress.publish(Draft(subject=said[1].subject(MINE), message=said[1], fence=Fence(0)))
            found = await anext(deliveries)
            assert found is not None
            assert found.subject == said[1].subject(MINE)


async def test_a_stop_that_another_worker_has_sent_as_an_answer_is_none(
    guarded: Guarded, scheduler: Bus
) -> None:
    happened: list[Happening] = []
    guarded.hire(session_rights(OTHER, "w-2"))
    stop = Stop(user=ADA)
    async with (
        working(guarded, scheduler) as (_, taken),
        guarded.client("w-2") as hostile,
        guarded.client("ingress") as ingress,
    ):
        hearing = Hearing(taken.bus, MINE, happened.append)
        listening = asyncio.create_task(hearing.run())
        await hearing.caught_up.wait()
        await hostile.request(f"session.{OTHER}.out", stop.encode())
        forged = f"session.{MINE}.control"
        await hostile.publish(f"$JS.API.DIRECT.GET.SESSIONS.session.{OTHER}.out", b"", reply=forged)
        await hostile.publish(f"session.{OTHER}.out", stop.encode(), reply=forged)
        name = reader("w-2", "out")
        await OwnReaders(scheduler).make_named(name, "SESSIONS", [f"session.{OTHER}.out"], "all", 0)
        await hostile.publish(f"{NEXT}.SESSIONS.{name}", b'{"batch":9}', reply=forged)
        await hostile.request(f"$JS.API.DIRECT.GET.SESSIONS.session.{OTHER}.out", b"")
        await taken.bus.client.flush()
        assert happened == []
        await ingress.publish(forged, stop.encode())
        async with asyncio.timeout(PATIENCE):
            while StopHeard(stop) not in happened:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        assert happened.count(StopHeard(stop)) == 1
        await cancel(listening)


async def test_a_worker_is_let_into_one_session_alone(guarded: Guarded, scheduler: Bus) -> None:
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting:
        mine = await took(waiting.bus.client)
        for _ in range(2):
            assert isinstance(await enter(waiting, "w-1", mine.reply), Credential)
        await assign(scheduler, OTHER)
        other = await took(waiting.bus.client)
        denied = await enter(waiting, "w-1", other.reply)
        assert denied == Denied(reason="The worker w-1 has its session already.", spent=True)
        assert waiting.enter
        with pytest.raises(Spent):
            await waiting.enter(Assignment.decode(other.data), other)
        with pytest.raises(Unavailable):
            await waiting.bus.request(Enter.subject("w-2"), Enter(user="", ack=""), deadline=0.3)


async def test_an_assignment_that_is_done_lets_nobody_in(guarded: Guarded, scheduler: Bus) -> None:
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting:
        delivery = await took(waiting.bus.client)
        await delivery.ack()
        await done(scheduler)
        assert isinstance(await enter(waiting, "w-1", delivery.reply), Denied)


@pytest.mark.parametrize(
    "ack",
    ["", ">", "$JS.ACK.WORK.pool-default.>", "$JS.ACK.WORK.pool-default.*.1.1.1.1", "$JS.ACK.SESSIONS.scheduler.1.1.1.1.1",
     "$JS.ACK.WORK.pool-default.1.1.1.1.0\n", "session.T1.C1.2-2.in.x"],
)  # fmt: skip
async def test_nothing_but_an_assignments_own_answer_becomes_a_right(
    guarded: Guarded, scheduler: Bus, ack: str
) -> None:
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting:
        assert isinstance(await enter(waiting, "w-1", ack), Denied)


async def test_what_is_no_key_gets_no_credential(guarded: Guarded, scheduler: Bus) -> None:
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting:
        delivery = await took(waiting.bus.client)
        assert isinstance(await enter(waiting, "w-1", delivery.reply, user="x"), Denied)
        assert isinstance(await enter(waiting, "w-1", delivery.reply), Credential)


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
    monkeypatch.setattr(credentials, "LIFE_SECONDS", 2.0)
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
        async with asyncio.timeout(PATIENCE):
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
    monkeypatch.setattr(credentials, "POOL_SECONDS", 4.0)
    monkeypatch.setattr(renewal, "AGAIN_SECONDS", 1.0)
    async with pool(guarded, "w-1") as waiting:
        assert waiting.renewal
        before = waiting.renewal.proof.jwt
        taking = asyncio.create_task(take(waiting.bus, "default", "w-1", waiting.enter, waiting.renewal))
        async with asyncio.timeout(PATIENCE):
            while waiting.renewal.proof.jwt == before:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        await assign(scheduler, MINE)
        began = time.monotonic()
        taken = await asyncio.wait_for(taking, PATIENCE)
        assert time.monotonic() - began < 2
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


async def test_only_a_reading_that_there_is_is_opened(guarded: Guarded, scheduler: Bus) -> None:
    async with working(guarded, scheduler) as (_, taken):
        subject = OpenReader.subject(MINE, "w-1")
        for reading in ("log", "out", "state", "words"):
            assert isinstance(
                READERS.decode(await taken.bus.request(subject, OpenReader(reading=reading, after=-5))),
                Reader,
            )
        for reading in ("", ">", "control", "../log"):
            assert isinstance(
                READERS.decode(await taken.bus.request(subject, OpenReader(reading=reading))), Denied
            )
        assert isinstance(
            CREDENTIALS.decode(await taken.bus.request(Renew.subject(MINE, "w-1"), Renew(user=">"))), Denied
        )


async def told_to_go(waiting: Pool, enter: Entering) -> asyncio.Task[Taken]:
    """Tell a worker to go while `enter` lets it in; return what it takes."""
    entering, may_enter = asyncio.Event(), asyncio.Event()

    async def slowly(assignment: Assignment, delivery: Delivery) -> Bus | None:
        entering.set()
        await may_enter.wait()
        return await enter(assignment, delivery)

    taking = asyncio.create_task(take(waiting.bus, "default", "w-1", slowly))
    await entering.wait()
    taking.cancel()
    await asyncio.sleep(0)  # it hears of that
    may_enter.set()
    return taking


async def test_a_worker_that_has_to_go_while_it_comes_in_has_what_it_took(
    guarded: Guarded, scheduler: Bus
) -> None:
    """It hands the session over: a lease that is half taken would count as a death."""
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting, asyncio.timeout(PATIENCE):
        assert waiting.enter
        taken = await (await told_to_go(waiting, waiting.enter))
        assert taken.assignment.key == MINE
        await close_connection(taken.bus.client)


async def test_a_worker_that_has_to_go_while_nobody_lets_it_in_takes_nothing(
    guarded: Guarded, scheduler: Bus
) -> None:
    async def nobody(assignment: Assignment, delivery: Delivery) -> Bus | None:
        return None

    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting, asyncio.timeout(PATIENCE):
        taking = await told_to_go(waiting, nobody)
        with pytest.raises(asyncio.CancelledError):
            await taking
