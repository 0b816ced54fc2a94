"""Waiting in the pool for one assignment, with its lease."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import structlog

from schemas.bus import pool_consumer
from services.runtime.bus import Bus
from services.runtime.pull import Delivery, Pull
from services.worker.considering import LATER, Ahead, Considering, Enter, Taken
from services.worker.renewal import Renewal

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.1


async def take(
    bus: Bus,
    pool: str,
    worker: str,
    enter: Enter | None = None,
    renewal: Renewal | None = None,
    *,
    ahead: Ahead,
) -> Taken:
    """Wait in `pool` until an assignment comes whose session lets us in. Raises `Spent` and `SettingsError`.

    Without `enter` `bus` is good for all sessions; `renewal` keeps its credential fresh meanwhile. What `ahead` begins is
    the caller's with what was taken, and left otherwise.
    """
    wait = pool_consumer(pool).ack_wait
    consider = partial(Considering, bus, worker, enter=enter, ahead=ahead, ack_wait=wait)
    while True:
        try:
            taken = await _until_renewal(bus, pool, consider, renewal)
            if taken:
                return taken
            if renewal:
                await renewal.renew()
        except LATER as e:
            log.debug("asking for work again", reason=str(e))
            await asyncio.sleep(AGAIN_SECONDS)


async def _until_renewal(
    bus: Bus, pool: str, consider: Callable[[Delivery], Considering], renewal: Renewal | None
) -> Taken | None:
    """Wait for work; None when the credential is due: nothing may be on its way to a connection that is replaced."""
    consumer = pool_consumer(pool)
    taken: Taken | None = None
    try:
        async with Pull(
            bus.client, consumer.stream, consumer.name, batch=1, ahead=False, gives_back=True
        ) as pull:
            while delivery := await _next(pull, renewal.left() if renewal else None):
                if taken := await consider(delivery).to_its_end():
                    break
    except asyncio.CancelledError:
        if taken is None:  # else it is to be handed over
            raise
    return taken


async def _next(pull: Pull, within: float | None) -> Delivery | None:
    async with contextlib.aclosing(aiter(pull)) as deliveries:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await anext(deliveries)
    return None
