"""A worker with an assignment in hand: nobody else is given it meanwhile, and it is taken, or given back."""

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from schemas.buckets import Lease
from schemas.bus import LEASES, WORK, pool_consumer
from schemas.credentials import Secrets
from schemas.work import Assignment
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import StreamFull, Unavailable
from services.runtime.pull import Delivery, Pull
from services.runtime.tasks import cancel
from services.runtime.topology import ensure_consumer
from services.worker.assignment import take
from services.worker.considering import Begin, Considering
from services.worker.opening import Opening
from tests.rights.entering import assign, nothing, took
from tests.worker.test_lease import KEY, Deaf

PATIENCE = 20.0
IMPATIENT = msgspec.structs.replace(pool_consumer("default"), ack_wait=3.0)


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
    await assign(bus, KEY)
    first = asyncio.create_task(take(bus, "default", "w-1", ahead=nothing))
    await until_in_hand(bus)
    second = asyncio.create_task(take(bus, "default", "w-2", ahead=nothing))
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
    await assign(bus, KEY)
    taking = asyncio.create_task(take(bus, "default", "w-1", ahead=nothing))
    await until_in_hand(bus)
    taking.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({taking})
    assert taking.cancelled()
    await leases.delete(str(KEY), theirs)
    taken = await asyncio.wait_for(
        take(bus, "default", "w-2", ahead=nothing), pool_consumer("default").ack_wait / 2
    )
    assert taken.lease.holder == "w-2"


async def test_an_assignment_that_is_over_is_waited_for_no_longer(bus: Bus) -> None:
    await Bucket(bus, LEASES.name, Lease).create(str(KEY), Lease(holder="scheduler-1"))
    await assign(bus, KEY, seconds=1.5)
    taking = asyncio.create_task(take(bus, "default", "w-1", ahead=nothing))
    async with asyncio.timeout(PATIENCE):
        while (await bus.api(f"STREAM.INFO.{WORK.name}", None))["state"]["messages"]:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert not taking.done()
    await cancel(taking)


async def test_a_lease_whose_answer_was_lost_is_asked_for_again_and_given_to_nobody_else(bus: Bus) -> None:
    async def enter(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus:
        deliveries.append(delivery.deliveries)
        return session

    deliveries, session = list[int](), Deaf(bus.client)
    await assign(bus, KEY)
    taken = await asyncio.wait_for(take(bus, "default", "w-1", enter, ahead=nothing), PATIENCE)
    assert deliveries == [1]
    entry = await Bucket(bus, LEASES.name, Lease).get(str(KEY))
    assert entry.value
    assert (entry.value.holder, entry.value.token) == ("w-1", taken.lease.token)
    assert await in_hand(bus) == (0, 0)


async def test_who_is_told_to_go_twice_while_its_lease_is_written_has_the_session_to_hand_over(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, written, heard = Bucket.create, asyncio.Event(), asyncio.Event()

    async def slowly(bucket: Bucket[Lease], key: str, lease: Lease) -> int:
        revision = await create(bucket, key, lease)
        written.set()
        await heard.wait()
        return revision

    monkeypatch.setattr(Bucket, "create", slowly)
    await assign(bus, KEY)
    taking = asyncio.create_task(take(bus, "default", "w-1", ahead=nothing))
    async with asyncio.timeout(PATIENCE):
        await written.wait()
        for _ in range(2):
            taking.cancel()
            await asyncio.sleep(0.01)
        heard.set()
        assert (await taking).assignment.key == KEY


async def test_who_is_told_to_go_while_it_leaves_the_pool_has_the_session_to_hand_over(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = Pull.__aexit__

    async def told_to_go(pull: Pull, *error: Any) -> None:
        taking.cancel()
        try:
            await asyncio.sleep(0)
        finally:
            await leave(pull, *error)

    monkeypatch.setattr(Pull, "__aexit__", told_to_go)
    await assign(bus, KEY)
    taking = asyncio.create_task(take(bus, "default", "w-1", ahead=nothing))
    async with asyncio.timeout(PATIENCE):
        assert (await taking).assignment.key == KEY


@pytest.mark.parametrize("returns", [False, True])
async def test_what_somebody_else_may_have_by_then_is_not_given_back(bus: Bus, returns: bool) -> None:
    """Neither what would be said at the reconnection, nor what is said after one that came too late."""

    class Away(Bus):
        away = False

        @property
        def connected(self) -> bool:
            return not self.away

    async def enter(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus:
        pool.away = True
        await asyncio.sleep(0.3)
        pool.away = not returns
        raise StreamFull("no room")

    async def hear(message: Msg) -> None:
        said.append(message.data)

    pool, said = Away(bus.client), list[bytes]()
    await assign(bus, KEY)
    delivery = await took(bus.client)
    await bus.client.subscribe(delivery.reply, cb=hear)
    with pytest.raises(StreamFull):
        await Considering(pool, "w-1", delivery, enter, ack_wait=0.2, ahead=nothing).to_its_end()
    await delivery.ack()
    async with asyncio.timeout(PATIENCE):
        while b"+ACK" not in said:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert said == [b"+ACK"]


@pytest.mark.parametrize("had", ["nobody lets in", "the lease is another's", "the session"])
async def test_what_was_begun_ahead_is_left_unless_the_session_is_had(bus: Bus, had: str) -> None:
    class Begun(Opening):
        def __init__(self) -> None:
            """Nothing is brought."""

        async def close(self) -> None:
            closed.append(self)

    async def enter(assignment: Assignment, delivery: Delivery, begin: Begin) -> Bus:
        begin(secrets)
        if had == "nobody lets in":
            raise Unavailable("its connection does not come about")
        return bus

    def ahead(assignment: Assignment, told: Secrets) -> Opening:
        assert (assignment.key, told) == (KEY, secrets)
        return begun

    begun, closed, secrets = Begun(), list[Opening](), Secrets(git_password="word")
    if had == "the lease is another's":
        await Bucket(bus, LEASES.name, Lease).create(str(KEY), Lease(holder="w-other"))
    await assign(bus, KEY)
    delivery = await took(bus.client)
    considering = Considering(bus, "w-1", delivery, enter, ack_wait=10, ahead=ahead)
    with contextlib.suppress(Unavailable):
        taken = await considering.to_its_end()
        assert (taken and taken.opening) == (begun if had == "the session" else None)
    assert closed == ([] if had == "the session" else [begun])
