"""Waiting in the pool for one assignment, with its lease."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from nats.errors import Error as NatsError

from schemas.base import MalformedMessage
from schemas.bus import pool_consumer
from schemas.keys import InvalidKey
from schemas.work import Assignment
from services.runtime.bus import Bus
from services.runtime.connection import close_connection
from services.runtime.dead_letters import bury
from services.runtime.errors import NOT_NOW
from services.runtime.pull import Delivery, Pull, Silent
from services.worker.lease import HeldLease, Occupied, acquire
from services.worker.renewal import Renewal

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.1
# What we cannot take, another worker may, or we ourselves a moment later.
BACK_SECONDS = 0.5
# What may go well at another time.
LATER = Silent, Occupied, *NOT_NOW, NatsError


# Lets the worker into the session of an assignment: the bus to work on, None where it may not.
Enter = Callable[[Assignment, Delivery], Awaitable[Bus | None]]


class Spent(Exception):
    """Somebody else was faster in the session that let us in, and no other one will: this worker is of no use any more."""


class Taken(msgspec.Struct, frozen=True):
    """An assignment whose lease is ours, with the `headers` that it came with; `bus` is the session's."""

    assignment: Assignment
    headers: Mapping[str, str]
    lease: HeldLease
    bus: Bus


async def take(
    bus: Bus, pool: str, worker: str, enter: Enter | None = None, renewal: Renewal | None = None
) -> Taken:
    """Wait in `pool` until an assignment comes whose session lets us in. Raises `Spent`.

    Without `enter` `bus` is good for all sessions; `renewal` keeps its credential fresh meanwhile.
    """
    while True:
        try:
            taken = await _until_renewal(bus, pool, worker, enter, renewal)
            if taken:
                return taken
            if renewal:
                await renewal.renew()
        except LATER as e:
            log.debug("asking for work again", reason=str(e))
            await asyncio.sleep(AGAIN_SECONDS)


async def _until_renewal(
    bus: Bus, pool: str, worker: str, enter: Enter | None, renewal: Renewal | None
) -> Taken | None:
    """Wait for work; None when the credential is due: nothing may be on its way to a connection that is replaced."""
    consumer = pool_consumer(pool)
    async with Pull(
        bus.client, consumer.stream, consumer.name, batch=1, ahead=False, gives_back=True
    ) as pull:
        while delivery := await _next(pull, renewal.left() if renewal else None):
            taken = await _to_its_end(_answer(bus, delivery, worker, enter))
            if taken:
                return taken
    return None


async def _to_its_end(considering: Coroutine[Any, Any, Taken | None]) -> Taken | None:
    """Await `considering`, even when cancelled meanwhile: a lease that is half taken would count as a death."""
    task = asyncio.create_task(considering, name="consider")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(*LATER):  # there is no later for who has to go
            if taken := await task:
                return taken
        raise


async def _next(pull: Pull, within: float | None) -> Delivery | None:
    async with contextlib.aclosing(aiter(pull)) as deliveries:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await anext(deliveries)
    return None


async def _answer(bus: Bus, delivery: Delivery, worker: str, enter: Enter | None) -> Taken | None:
    """Take what `delivery` assigns, or give it back, so that nobody has to wait out the consumer's ack wait."""
    try:
        return await _consider(bus, delivery, worker, enter)
    except LATER:
        await delivery.retry(BACK_SECONDS)
        raise


async def _consider(bus: Bus, delivery: Delivery, worker: str, enter: Enter | None) -> Taken | None:
    try:
        assignment = Assignment.decode(delivery.data)
        key = assignment.key
    except (MalformedMessage, InvalidKey) as e:
        await bury(bus, "worker", delivery, str(e))
        await delivery.terminate()
        return None
    if assignment.expires_at <= datetime.now(UTC):
        await delivery.ack()
        return None
    try:
        session = await enter(assignment, delivery) if enter else bus
    except Spent:
        await delivery.retry(0)  # to a worker that was let into no session yet
        raise
    if session is None:
        await delivery.retry(BACK_SECONDS)
        return None
    try:
        lease = await acquire(session, key, worker, new=assignment.new)
    except BaseException:
        await _leave(session, bus)
        raise
    if lease is None:
        await delivery.ack()
        await _leave(session, bus)
        if session is bus:
            return None
        raise Spent(str(key))
    # If we die from here on, the lease tells: nobody needs the assignment any more.
    await delivery.ack()
    return Taken(assignment, delivery.headers, lease, session)


async def _leave(session: Bus, pool: Bus) -> None:
    if session is not pool:
        await close_connection(session.client)
