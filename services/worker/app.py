"""The composition root of a worker: wait in the pool, work on one session, be gone."""

import asyncio
import signal
from datetime import UTC, datetime

import structlog

from schemas.rights import inbox
from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.lifecycle import cancel
from services.worker.agents.factory import preload
from services.worker.assignment import Taken, take
from services.worker.lease import LeaseLost
from services.worker.session import Session
from services.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


async def run(settings: WorkerSettings) -> None:
    """Take one assignment, work on its session until it is idle, and return; SIGTERM hands over."""
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    client = await open_connection(settings.nats, settings.worker, leaving.set, inbox=inbox("worker"))
    bus = Bus(client, replicas=settings.nats.replicas)
    preload(settings.agent)
    ready_at = datetime.now(UTC)
    log.info("waiting", pool=settings.pool)
    try:
        taken = await _take_or_leave(bus, settings, leaving)
        if taken is not None:
            warm = taken.assignment.issued_at > ready_at
            await _work(Session(bus, settings, taken, warm=warm), leaving)
    finally:
        await close_connection(client)


async def _take_or_leave(bus: Bus, settings: WorkerSettings, leaving: asyncio.Event) -> Taken | None:
    taking = asyncio.create_task(take(bus, settings.pool, settings.worker), name="take")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    await asyncio.wait([taking, gone], return_when=asyncio.FIRST_COMPLETED)
    await cancel(gone)
    if taking.done():
        return taking.result()
    await cancel(taking)
    return None


async def _work(session: Session, leaving: asyncio.Event) -> None:
    working = asyncio.create_task(session.run(), name="session")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        session.drain()
    try:
        await working
    except LeaseLost:
        log.info("another worker holds the session now")
    finally:
        await cancel(gone)
