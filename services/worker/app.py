"""The composition root of a worker: wait in the pool, work on one session, be gone."""

import asyncio
import contextlib
import importlib
import signal
from datetime import UTC, datetime
from functools import partial

import structlog

from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.proof import Proof
from services.runtime.tasks import cancel
from services.worker.agents.factory import Kind, preload
from services.worker.assignment import take
from services.worker.considering import Ahead, Spent, Taken
from services.worker.entering import Pool
from services.worker.knocking import let_in
from services.worker.sealing import seal
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
    # It takes longer than the way into the pool, which is waiting for others.
    loading = asyncio.create_task(asyncio.to_thread(_load, settings.agent), name="load")
    try:
        pool = await _pool_or_leave(settings, leaving)
    finally:
        await loading
    if pool is not None:
        await _serve(pool, settings, leaving)


def _load(agent: Kind) -> None:
    """Import all that a session needs: who could not work on one takes none."""
    importlib.import_module("services.worker.working")
    preload(agent)


async def _serve(pool: Pool, settings: WorkerSettings, leaving: asyncio.Event) -> None:
    from services.worker.working import ahead, work  # noqa: PLC0415 (loaded beside the way into the pool)

    ready_at = datetime.now(UTC)
    log.info("waiting", pool=settings.pool)
    taken: Taken | None = None
    try:
        taken = await _take_or_leave(pool, settings, leaving, partial(ahead, settings))
        if taken is not None:
            warm = taken.assignment.issued_at > ready_at
            await work(taken, settings, leaving, pool.leave, warm=warm)
    except Spent as e:
        log.info("of no use any more: it cannot have this session", session=str(e))
    finally:
        await pool.leave()
        await close_connection(taken.bus.client if taken else pool.bus.client)


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


async def _take_or_leave(
    pool: Pool, settings: WorkerSettings, leaving: asyncio.Event, ahead: Ahead
) -> Taken | None:
    work = take(pool.bus, settings.pool, settings.worker, pool.enter, pool.renewal, ahead=ahead)
    taking = asyncio.create_task(work, name="take")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    await asyncio.wait([taking, gone], return_when=asyncio.FIRST_COMPLETED)
    await cancel(gone)
    if taking.done():
        return taking.result()
    await cancel(taking)
    # What was begun came to its end all the same: the session is handed over at once.
    return None if taking.cancelled() else taking.result()
