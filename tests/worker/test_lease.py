"""A session's lease, as its holder keeps it."""

import asyncio
import contextlib
import time

import pytest

from schemas.base import HEADER_ID
from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.events import EVENTS, Claimed, Notice
from schemas.keys import SessionKey
from schemas.work import Assignment
from services.local.broker import Broker
from services.runtime.asking import ATTEMPT_SECONDS
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, open_connection
from services.runtime.errors import Conflict, StreamFull, Unavailable
from services.runtime.follow import read
from services.runtime.pull import Delivery
from services.runtime.tasks import cancel
from services.worker.assignment import take
from services.worker.considering import Begin
from services.worker.lease import FRESH_SECONDS, RENEW_SECONDS, HeldLease, LeaseLost, Occupied, acquire
from services.worker.session_log import SessionLog
from tests.rights.entering import assign, nothing
from tests.worker.conftest import Held

KEY = SessionKey("T1", "C1", "1-1")


async def unmoved() -> bool:
    return True


class Deaf(Bus):
    """Stores what it publishes, and is told so too late the first `deaf` times."""

    deaf = 1

    async def publish(self, draft: Draft, *, deadline: float = 10) -> int:
        sequence = await super().publish(draft, deadline=deadline)
        if self.deaf:
            self.deaf -= 1
            raise Unavailable("no answer in time")
        return sequence


async def test_a_lease_whose_answer_came_late_is_renewed_in_time(bus: Bus) -> None:
    """It began when it was asked for: by the broker's clock it is old already."""
    held = await acquire(bus, KEY, "w-1")
    assert held
    bucket = Bucket(bus, LEASES.name, Lease)
    late = HeldLease(bucket, KEY, "w-1", held.token, time.monotonic() - RENEW_SECONDS, follows=0)
    assert late.fresh()
    renewing = asyncio.create_task(late.renew_for_ever(unmoved))
    async with asyncio.timeout(RENEW_SECONDS / 2), contextlib.aclosing(bucket.watch()) as entries:
        async for entry in entries:
            if entry and entry.revision > held.token:
                assert entry.value == Lease(holder="w-1", token=held.token, since=entry.value.since)
                break
    await cancel(renewing)
    stale = HeldLease(bucket, KEY, "w-1", held.token, time.monotonic() - FRESH_SECONDS, follows=0)
    assert not stale.fresh()


async def test_a_lease_whose_answer_was_lost_is_had_by_asking_again(bus: Bus) -> None:
    """Its life begins anew: nobody knows how much of it had passed."""
    deaf, bucket = Deaf(bus.client), Bucket(bus, LEASES.name, Lease)
    with pytest.raises(Unavailable):
        await acquire(deaf, KEY, "w-1")
    created = await bucket.get(str(KEY))
    deaf.deaf = 1
    with pytest.raises(Unavailable):
        await acquire(deaf, KEY, "w-1")
    held = await acquire(deaf, KEY, "w-1")
    assert held
    assert held.fresh()
    assert held.token == created.revision
    entry = await bucket.get(str(KEY))
    assert entry.revision > created.revision
    assert entry.value
    assert (entry.value.holder, entry.value.token) == ("w-1", created.revision)
    assert await acquire(bus, KEY, "w-2") is None
    await held.release()
    assert (await bucket.get(str(KEY))).value is None


async def test_a_session_whose_lease_cannot_be_had_is_left_before_the_next_is_taken(
    bus: Bus, broker: Broker
) -> None:
    sessions: list[Bus] = []

    class Full(Bus):
        async def publish(self, draft: Draft, *, deadline: float = 10) -> int:
            raise StreamFull("no room")

    async def enter(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus:
        sessions.append(Full(await open_connection(BusSettings(url=broker.url), "w-1", lambda: None)))
        return sessions[-1]

    await assign(bus, KEY)
    taking = asyncio.create_task(take(bus, "default", "w-1", enter, ahead=nothing))
    async with asyncio.timeout(10):
        while len(sessions) < 2:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert sessions[0].client.is_closed
    assert not taking.done()
    taking.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([taking])
    assert taking.cancelled()


async def revoked(bus: Bus) -> None:
    """Delete the lease of whoever did not obey, as a scheduler does."""
    bucket = Bucket(bus, LEASES.name, Lease)
    entry = await bucket.get(str(KEY))
    await bucket.delete(str(KEY), entry.revision)


async def claims(bus: Bus) -> list[str]:
    found = [EVENTS.decode(each.data) for each in await read(bus, "SESSIONS", [f"session.{KEY}.out"])]
    return [each.holder for each in found if isinstance(each, Claimed)]


@pytest.mark.parametrize("new", [True, False], ids=["taken for new", "begun"])
async def test_whoever_lost_the_lease_unheard_claims_nothing_after_the_next_holder(
    bus: Bus, new: bool
) -> None:
    if not new:
        await SessionLog(bus, KEY).claim(Held("w-0", 1), 1)
    late = await acquire(bus, KEY, "w-1", new=new)
    await revoked(bus)
    following = await acquire(bus, KEY, "w-2", new=new)
    assert late
    assert following
    await SessionLog(bus, KEY).claim(following, 2)
    assert late.fresh()
    with pytest.raises(LeaseLost):
        await SessionLog(bus, KEY).claim(late, 1)
    assert (await claims(bus))[-1] == "w-2"


async def test_whoever_loses_the_lease_as_it_takes_it_claims_nothing_after_the_next_holder(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Bucket.create

    async def held_up(bucket: Bucket[Lease], key: str, lease: Lease) -> int:
        token = await create(bucket, key, lease)
        await revoked(bus)
        await SessionLog(bus, KEY).claim(Held("w-2", token + 2), 2)
        return token

    monkeypatch.setattr(Bucket, "create", held_up)
    late = await acquire(bus, KEY, "w-1")
    assert late
    with pytest.raises(LeaseLost):
        await SessionLog(bus, KEY).claim(late, 1)
    assert await claims(bus) == ["w-2"]


async def test_a_former_holder_that_wrote_once_more_keeps_nobody_from_claiming(bus: Bus) -> None:
    former = SessionLog(bus, KEY)
    await former.claim(Held("w-0", 1), 1)
    held = await acquire(bus, KEY, "w-1")
    await former.event(Notice(text="a last word"))
    assert held
    own = SessionLog(bus, KEY)
    await own.claim(held, 1)
    assert own.follows > held.follows
    assert (await claims(bus)) == ["w-0", "w-1"]


@pytest.mark.parametrize("deaf", [1, 2])
async def test_a_renewal_whose_answer_was_lost_costs_nobody_the_lease(bus: Bus, deaf: int) -> None:
    await SessionLog(bus, KEY).claim(Held("w-0", 1), 1)
    unheard = Deaf(bus.client)
    unheard.deaf = 0
    held = await acquire(unheard, KEY, "w-1", new=True)
    unheard.deaf = deaf
    assert held
    await SessionLog(bus, KEY).claim(held, 1)
    assert await claims(bus) == ["w-0", "w-1"]


class HardOfHearing(Bus):
    """Hears no answer to the first attempt of any write, which is stored all the same."""

    async def _attempt(self, subject, payload, headers, until):
        ack = await super()._attempt(subject, payload, headers, until)
        if headers[HEADER_ID] in self.__dict__.setdefault("attempted", set()):
            return ack
        self.attempted.add(headers[HEADER_ID])
        await asyncio.sleep(min(ATTEMPT_SECONDS, until - time.monotonic()))
        return None


async def test_a_broker_whose_first_answers_are_always_lost_costs_nobody_the_lease(bus: Bus) -> None:
    await SessionLog(bus, KEY).claim(Held("w-0", 1), 1)
    held = await acquire(HardOfHearing(bus.client), KEY, "w-1", new=True)
    assert held
    await SessionLog(bus, KEY).claim(held, 1)
    assert await claims(bus) == ["w-0", "w-1"]


async def test_a_full_store_is_no_reason_to_lose_the_lease(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    held, put, full = await acquire(bus, KEY, "w-1"), Bucket.put, iter([True, False])
    assert held
    renewed = asyncio.Event()
    bucket = Bucket(bus, LEASES.name, Lease)
    due = HeldLease(bucket, KEY, "w-1", held.token, time.monotonic() - RENEW_SECONDS, follows=0)

    async def once_full(*arguments, **more) -> int:
        if next(full):
            raise StreamFull("no room")
        revision = await put(*arguments, **more)
        renewed.set()
        return revision

    monkeypatch.setattr(Bucket, "put", once_full)
    renewing = asyncio.create_task(due.renew_for_ever(unmoved))
    async with asyncio.timeout(RENEW_SECONDS):
        await asyncio.wait(
            [renewing, asyncio.create_task(renewed.wait())], return_when=asyncio.FIRST_COMPLETED
        )
    assert renewed.is_set()
    await cancel(renewing)


async def test_what_is_in_the_way_of_giving_a_lease_up_is_nobodys_error(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, delete = await acquire(bus, KEY, "w-1"), Bucket.delete
    assert held
    for away in (StreamFull("no room"), Unavailable("no answer")):

        async def refused(*arguments, away: Exception = away) -> None:
            raise away

        monkeypatch.setattr(Bucket, "delete", refused)
        await held.release()
    monkeypatch.setattr(Bucket, "delete", delete)
    await held.release()
    assert (await Bucket(bus, LEASES.name, Lease).get(str(KEY))).value is None


async def test_a_log_that_is_not_claimed_is_no_proof_that_nobody_else_was_there(bus: Bus) -> None:
    log = SessionLog(bus, KEY)
    assert not await log.unmoved()
    await log.claim(Held("w-1", 1), 1)
    assert await log.unmoved()


async def test_a_schedulers_lease_is_waited_for_since_it_holds_a_session_for_a_moment(
    bus: Bus,
) -> None:
    leases, claimed = Bucket(bus, LEASES.name, Lease), Claimed(lease=1, holder="scheduler-1")
    theirs = await leases.create(str(KEY), Lease(holder="scheduler-1"))
    taking = asyncio.create_task(acquire(bus, KEY, "w-1"))
    done, _ = await asyncio.wait({taking}, timeout=0.3)
    assert not done
    await bus.publish(Draft(subject=claimed.subject(KEY), message=claimed))
    await leases.delete(str(KEY), theirs)
    held = await asyncio.wait_for(taking, 5)
    assert held
    await SessionLog(bus, KEY).claim(held, 1)
    claims = [EVENTS.decode(each.data) for each in await read(bus, "SESSIONS", [f"session.{KEY}.out"])]
    assert [each.holder for each in claims if isinstance(each, Claimed)] == ["scheduler-1", "w-1"]


async def test_a_lease_that_goes_while_it_is_looked_at_is_taken(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, create = Bucket(bus, LEASES.name, Lease), Bucket.create
    theirs = await leases.create(str(KEY), Lease(holder="scheduler-1"))

    async def refused_and_gone(bucket: Bucket[Lease], key: str, lease: Lease) -> int:
        try:
            return await create(bucket, key, lease)
        except Conflict:
            await leases.delete(key, theirs)
            raise

    monkeypatch.setattr(Bucket, "create", refused_and_gone)
    assert await acquire(bus, KEY, "w-1")


async def test_a_schedulers_lease_that_stays_is_not_taken_for_another_workers(bus: Bus) -> None:
    await Bucket(bus, LEASES.name, Lease).create(str(KEY), Lease(holder="scheduler-1"))
    with pytest.raises(Occupied):
        await acquire(bus, KEY, "w-1", lambda: False)


async def test_a_lease_of_ours_that_runs_out_before_it_is_heard_of_is_taken_anew(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, put = Bucket(bus, LEASES.name, Lease), Bucket.put
    unheard = await leases.create(str(KEY), Lease(holder="w-1"))

    async def ran_out(bucket: Bucket[Lease], key: str, lease: Lease, revision: int) -> int:
        if revision == unheard:
            await leases.delete(key, revision)
        return await put(bucket, key, lease, revision)

    monkeypatch.setattr(Bucket, "put", ran_out)
    held = await acquire(bus, KEY, "w-1")
    assert held
    assert held.token > unheard
