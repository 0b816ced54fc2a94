"""The composition root of a worker: wait in the pool, work on one session, be gone."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from schemas.credentials import Secrets
from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.lifecycle import cancel
from services.runtime.log import configure_logging
from services.runtime.proof import Proof
from services.runtime.redact import Redaction, secrets_in
from services.worker.access import Access
from services.worker.agents.factory import preload
from services.worker.assignment import Spent, Taken, take
from services.worker.entering import Pool, SessionBus
from services.worker.knocking import let_in
from services.worker.lease import LeaseLost
from services.worker.sealing import seal
from services.worker.session import Session
from services.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


async def run(settings: WorkerSettings) -> None:
    """Take one assignment, work on its session until it is idle, and return; SIGTERM hands over."""
    leaving = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leaving.set)
    if settings.life_seconds is not None:
        loop.call_later(settings.life_seconds, leaving.set)
    pool = await _pool_or_leave(settings, leaving)
    if pool is None:
        return
    preload(settings.agent)
    ready_at = datetime.now(UTC)
    log.info("waiting", pool=settings.pool)
    taken: Taken | None = None
    try:
        taken = await _take_or_leave(pool, settings, leaving)
        if taken is not None:
            await pool.leave()
            warm = taken.assignment.issued_at > ready_at
            secrets = taken.bus.secrets if isinstance(taken.bus, SessionBus) else Secrets()
            access = Access.of(os.environ, secrets)
            hide(access.secrets(settings.repo), settings)
            await _work(Session(taken.bus, settings, taken, access, warm=warm), taken.bus, leaving)
    except Spent as e:
        log.info("another worker was faster", session=str(e))
    finally:
        await pool.leave()
        await close_connection(taken.bus.client if taken else pool.bus.client)


def hide(secrets: Sequence[str], settings: WorkerSettings) -> None:
    """Keep what came with the session out of this process's log, as what its environment holds."""
    known = Redaction([*secrets_in(os.environ), *secrets])
    configure_logging("worker", form=settings.log_form, level=settings.log_level, redaction=known)


async def _pool_or_leave(settings: WorkerSettings, leaving: asyncio.Event) -> Pool | None:
    entering = asyncio.create_task(_pool(settings, leaving), name="pool")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    await asyncio.wait([entering, gone], return_when=asyncio.FIRST_COMPLETED)
    await cancel(gone)
    if entering.done():
        return entering.result()
    await cancel(entering)
    return None


async def _pool(settings: WorkerSettings, leaving: asyncio.Event) -> Pool:
    if settings.nats.creds is None:
        client = await open_connection(settings.nats, settings.worker, leaving.set)
        return Pool(Bus(client, replicas=settings.nats.replicas))
    proof = Proof.read(settings.nats.creds)
    if settings.token is not None:
        # Nobody but its agent is in a Pod with it. On a laptop its launcher has to know it by its environment.
        seal()
        return await Pool.guarded(settings, await let_in(settings, proof, settings.token), leaving.set)
    # What it says is ours alone, and in memory from here on.
    with contextlib.suppress(OSError):  # a folder that nobody may write, such as a mounted secret
        settings.nats.creds.unlink()
    return await Pool.guarded(settings, proof, leaving.set)


async def _take_or_leave(pool: Pool, settings: WorkerSettings, leaving: asyncio.Event) -> Taken | None:
    work = take(pool.bus, settings.pool, settings.worker, pool.enter, pool.renewal)
    taking = asyncio.create_task(work, name="take")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    await asyncio.wait([taking, gone], return_when=asyncio.FIRST_COMPLETED)
    await cancel(gone)
    if taking.done():
        return taking.result()
    await cancel(taking)
    # What was begun came to its end all the same: the session is handed over at once.
    return None if taking.cancelled() else taking.result()


async def _work(session: Session, bus: Bus, leaving: asyncio.Event) -> None:
    working = asyncio.create_task(session.run(), name="session")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    renewing = asyncio.create_task(bus.renewal.run(), name="renewal") if isinstance(bus, SessionBus) else gone
    await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        session.drain()
    try:
        await working
    except LeaseLost:
        log.info("another worker holds the session now")
    finally:
        await cancel(gone, renewing)
