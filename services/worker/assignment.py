"""Waiting in the pool for one assignment, with its lease."""

import asyncio
from datetime import UTC, datetime

import msgspec
import structlog

from schemas.base import MalformedMessage
from schemas.bus import pool_consumer
from schemas.keys import InvalidKey
from schemas.work import Assignment
from services.runtime.bus import Bus
from services.runtime.consume import bury
from services.runtime.errors import StreamFull, Unavailable
from services.runtime.pull import Delivery, Pull, Silent
from services.worker.lease import HeldLease, acquire

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.1


class Taken(msgspec.Struct, frozen=True):
    """An assignment whose lease is ours; acknowledge `delivery` once the turn was seen to be open."""

    assignment: Assignment
    lease: HeldLease
    delivery: Delivery


async def take(bus: Bus, pool: str, worker: str) -> Taken:
    """Wait in `pool` until an assignment comes whose lease can be had."""
    consumer = pool_consumer(pool)
    while True:
        try:
            async with Pull(bus.client, consumer.stream, consumer.name, batch=1, ahead=False) as pull:
                async for delivery in pull:
                    taken = await _consider(bus, delivery, worker)
                    if taken:
                        return taken
        except (Silent, Unavailable, StreamFull) as e:
            log.debug("asking for work again", reason=str(e))
            await asyncio.sleep(AGAIN_SECONDS)


async def _consider(bus: Bus, delivery: Delivery, worker: str) -> Taken | None:
    try:
        assignment = Assignment.decode(delivery.data)
        key = assignment.key
    except (MalformedMessage, InvalidKey) as e:
        await bury(bus, "worker", delivery, str(e))
        await delivery.terminate()
        return None
    lease = await acquire(bus, key, worker) if assignment.expires_at > datetime.now(UTC) else None
    if lease is None:
        await delivery.ack()
        return None
    return Taken(assignment, lease, delivery)
