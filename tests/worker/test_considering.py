"""A worker with an assignment in hand whose session a scheduler holds: it waits, and nobody else is given it meanwhile."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from schemas.base import now
from schemas.buckets import Lease
from schemas.bus import LEASES, WORK, pool_consumer
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.work import Assignment
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.tasks import cancel
from services.runtime.topology import ensure_consumer
from services.worker.assignment import take

KEY = SessionKey("T1", "C1", "1-1")
PATIENCE = 20.0
IMPATIENT = msgspec.structs.replace(pool_consumer("default"), ack_wait=3.0)


async def assign(bus: Bus, seconds: float = 60) -> None:
    expires = now() + timedelta(seconds=seconds)
    work = Assignment(
        session=str(KEY), turn=1, attempt=1, pool="default", user=Person(id="U1"), expires_at=expires
    )
    await bus.publish(Draft(subject=work.subject(), message=work))


async def in_hand(bus: Bus) -> tuple[int, int]:
    """Return how many assignments are with a worker, and how many of those not for the first time."""
    info = await bus.api(f"CONSUMER.INFO.{WORK.name}.{IMPATIENT.name}", None)
    return info["num_ack_pending"], info["num_redelivered"]


async def until_in_hand(bus: Bus) -> None:
    async with asyncio.timeout(PATIENCE):
        while await in_hand(bus) == (0, 0):  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def test_an_assignment_stays_with_who_waits_for_its_session(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.worker.assignment.pool_consumer", lambda _: IMPATIENT)
    await ensure_consumer(bus, IMPATIENT)
    leases = Bucket(bus, LEASES.name, Lease)
    theirs = await leases.create(str(KEY), Lease(holder="scheduler-1"))
    await assign(bus)
    first = asyncio.create_task(take(bus, "default", "w-1"))
    await until_in_hand(bus)
    second = asyncio.create_task(take(bus, "default", "w-2"))
    await asyncio.sleep(1.5 * IMPATIENT.ack_wait)
    assert await in_hand(bus) == (1, 0)
    await leases.delete(str(KEY), theirs)
    taken = await asyncio.wait_for(first, PATIENCE)
    assert (taken.assignment.key, taken.lease.holder) == (KEY, "w-1")
    assert not second.done()
    await cancel(second)


async def test_who_has_to_go_meanwhile_goes_and_the_next_one_is_given_it(bus: Bus) -> None:
    leases = Bucket(bus, LEASES.name, Lease)
    theirs = await leases.create(str(KEY), Lease(holder="scheduler-1"))
    await assign(bus)
    taking = asyncio.create_task(take(bus, "default", "w-1"))
    await until_in_hand(bus)
    taking.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({taking})
    assert taking.cancelled()
    await leases.delete(str(KEY), theirs)
    taken = await asyncio.wait_for(take(bus, "default", "w-2"), pool_consumer("default").ack_wait / 2)
    assert taken.lease.holder == "w-2"


async def test_an_assignment_that_is_over_is_waited_for_no_longer(bus: Bus) -> None:
    await Bucket(bus, LEASES.name, Lease).create(str(KEY), Lease(holder="scheduler-1"))
    await assign(bus, seconds=1.5)
    taking = asyncio.create_task(take(bus, "default", "w-1"))
    async with asyncio.timeout(PATIENCE):
        while (await bus.api(f"STREAM.INFO.{WORK.name}", None))["state"]["messages"]:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert not taking.done()
    await cancel(taking)
