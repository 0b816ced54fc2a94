"""Workers on their way from the pool into a session."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

from nats.aio.client import Client

from schemas.base import now
from schemas.bus import pool_consumer
from schemas.credentials import CREDENTIALS, Enter, Secrets
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.work import Assignment
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection
from services.runtime.issuer import Issuer
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.runtime.pull import Delivery, Pull, Silent
from services.scheduler import credentials
from services.worker.assignment import take
from services.worker.considering import Taken
from services.worker.entering import Pool
from services.worker.settings import WorkerSettings
from tests.rights.conftest import PATIENCE, Guarded

MINE = SessionKey("T1", "C1", "1-1")
OTHER = SessionKey("T1", "C1", "2-2")
ADA = Person(id="U1")


async def assign(bus: Bus, key: SessionKey, turn: int = 1, *, seconds: float = 60) -> int:
    expires = now() + timedelta(seconds=seconds)
    work = Assignment(session=str(key), turn=turn, attempt=1, pool="default", user=ADA, expires_at=expires)
    return await bus.publish(Draft(subject=work.subject(), message=work))


def nothing(assignment: Assignment, secrets: Secrets) -> None:
    """Begin nothing ahead of a lease."""


@contextlib.asynccontextmanager
async def pool(
    guarded: Guarded, worker: str, on_closed: Callable[[], None] = lambda: None
) -> AsyncIterator[Pool]:
    """A worker that waits in its pool with what its launcher gave it."""
    issuer = Issuer.read(guarded.keys.workers)
    guarded.keys.of(worker).write_text(credentials.boot_creds(issuer, "default", worker))
    settings = WorkerSettings(worker=worker, data=Path("/nowhere"), nats=BusSettings(url=guarded.broker.url))
    waiting = await Pool.guarded(settings, Proof.read(guarded.keys.of(worker)), on_closed)
    try:
        yield waiting
    finally:
        await waiting.leave()


@contextlib.asynccontextmanager
async def working(guarded: Guarded, scheduler: Bus, worker: str = "w-1") -> AsyncIterator[tuple[Pool, Taken]]:
    """A worker that took the assignment of the session `MINE`."""
    await assign(scheduler, MINE)
    async with pool(guarded, worker) as waiting, asyncio.timeout(PATIENCE):
        taken = await take(waiting.bus, "default", worker, waiting.enter, ahead=nothing)
        try:
            yield waiting, taken
        finally:
            await close_connection(taken.bus.client)


async def took(client: Client) -> Delivery:
    """Take the next assignment from the pool, and no step more."""
    consumer = pool_consumer("default")
    while True:
        with contextlib.suppress(Silent):
            async with Pull(client, consumer.stream, consumer.name, batch=1, ahead=False) as pull:
                async for delivery in pull:
                    return delivery


async def done(bus: Bus) -> None:
    """Wait until no assignment is left."""
    async with asyncio.timeout(PATIENCE):
        while (await bus.api("STREAM.INFO.WORK", None))["state"]["messages"]:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


async def enter(pool: Pool, worker: str, ack: str, user: str = "") -> object:
    request = Enter(user=user or NKey.generate("user").public, ack=ack)
    return CREDENTIALS.decode(await pool.bus.request(Enter.subject(worker), request))
