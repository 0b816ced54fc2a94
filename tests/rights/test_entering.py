"""From the pool into one session, by a real scheduler's word: once, for that session, for as long as it is held."""

import asyncio
import contextlib

import pytest

from schemas.buckets import Lease
from schemas.bus import pool_consumer
from schemas.credentials import CREDENTIALS, READERS, Credential, Denied, Enter, OpenReader, Reader, Renew
from schemas.events import Notice
from schemas.inputs import Said, Stop
from schemas.work import Assignment
from schemas.worker_rights import NEXT, reader, session_rights
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import close_connection
from services.runtime.errors import Conflict, StreamFull, Unavailable
from services.runtime.follow import Follow, read
from services.runtime.pull import Delivery
from services.runtime.readers import OwnReaders
from services.runtime.tasks import cancel
from services.worker.assignment import take
from services.worker.considering import Begin, Spent, Taken
from services.worker.considering import Enter as Entering
from services.worker.entering import Pool
from services.worker.happenings import Happening, StopHeard
from services.worker.hearing import Hearing
from tests.rights.conftest import PATIENCE, Guarded
from tests.rights.entering import ADA, MINE, OTHER, assign, done, enter, nothing, pool, took, working

# What nobody should have to wait out.
ACK_WAIT = pool_consumer("default").ack_wait


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
    said = [Said(id=f"m-{n}", user=ADA, text="x") for n in range(3)]
    async with guarded.client("ingress") as client:
        for key in (MINE, OTHER):
            await Bus(client).publish(Draft(subject=said[0].subject(key), message=said[0], fence=Fence(0)))
    async with guarded.client("ingress") as client, working(guarded, scheduler) as (_, taken):
        ingress = Bus(client)
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
            await waiting.enter(Assignment.decode(other.data), other, lambda _: None)
        with pytest.raises(Unavailable):
            await waiting.bus.request(Enter.subject("w-2"), Enter(user="", ack=""), deadline=0.3)


async def test_what_came_to_a_worker_of_another_session_goes_to_the_next_one_at_once(
    guarded: Guarded, scheduler: Bus
) -> None:
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as spent, pool(guarded, "w-2") as fresh, asyncio.timeout(ACK_WAIT / 2):
        mine = await took(spent.bus.client)
        assert isinstance(await enter(spent, "w-1", mine.reply), Credential)
        await mine.terminate()
        await assign(scheduler, OTHER)
        with pytest.raises(Spent):
            await take(spent.bus, "default", "w-1", spent.enter, ahead=nothing)
        taken = await take(fresh.bus, "default", "w-2", fresh.enter, ahead=nothing)
        assert taken.assignment.key == OTHER
        await close_connection(taken.bus.client)


async def test_a_worker_whose_session_is_not_to_be_had_now_leaves_it_and_is_given_it_again(
    guarded: Guarded, scheduler: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, create, deliveries = asyncio.Event(), Bucket.create, list[int]()

    async def refused_once(bucket: Bucket[Lease], key: str, lease: Lease) -> int:
        if key == str(MINE) and len(deliveries) == 1:
            raise StreamFull("no room")
        return await create(bucket, key, lease)

    monkeypatch.setattr(Bucket, "create", refused_once)
    await assign(scheduler, MINE)
    async with pool(guarded, "w-1", lost.set) as waiting, asyncio.timeout(ACK_WAIT / 2):

        async def entered(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus | None:
            deliveries.append(delivery.deliveries)
            assert waiting.enter
            return await waiting.enter(assignment, delivery, begin)

        taken = await take(waiting.bus, "default", "w-1", entered, ahead=nothing)
        assert (taken.assignment.key, deliveries) == (MINE, [1, 2])
        await done(scheduler)
        await close_connection(taken.bus.client)
    assert not lost.is_set(), "it is no loss of the bus, at which a worker ends, to leave a session oneself"


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

    async def slowly(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus | None:
        entering.set()
        await may_enter.wait()
        return await enter(assignment, delivery, begin)

    taking = asyncio.create_task(take(waiting.bus, "default", "w-1", slowly, ahead=nothing))
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
    async def nobody(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus | None:
        return None

    await assign(scheduler, MINE)
    async with pool(guarded, "w-1") as waiting, asyncio.timeout(PATIENCE):
        taking = await told_to_go(waiting, nobody)
        with pytest.raises(asyncio.CancelledError):
            await taking
