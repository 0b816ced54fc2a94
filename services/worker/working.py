"""Working on the session of one assignment, until it is over or this worker has to leave."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

import structlog

from schemas.credentials import Secrets
from schemas.work import Assignment
from services.runtime.errors import Unavailable
from services.runtime.log import configure_logging
from services.runtime.redact import Redaction, secrets_in
from services.runtime.tasks import cancel
from services.runtime.traceparent import within
from services.worker.access import Access
from services.worker.considering import Taken
from services.worker.entering import SessionBus
from services.worker.lease import LeaseLost
from services.worker.opening import Opening
from services.worker.session import Session
from services.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

CLOSED = "the broker closed the connection for good; has the credential expired?"


async def work(
    taken: Taken,
    settings: WorkerSettings,
    leaving: asyncio.Event,
    leave_pool: Callable[[], Awaitable[None]],
    *,
    warm: bool,
) -> None:
    """Work on the session; with `leaving` it is handed over. `warm` tells that this worker waited for it.

    `leave_pool` drops what no agent may find: none is started before that is done. Raises `Unavailable` when the broker
    closes the connection for good.
    """
    bus = taken.bus
    secrets = bus.secrets if isinstance(bus, SessionBus) else Secrets()
    opening = taken.opening or _opening(settings, taken.assignment, secrets)
    session = Session(bus, settings, taken, opening, leave_pool, warm=warm)
    with within(taken.headers):
        working = asyncio.create_task(session.run(), name="session")
    gone = asyncio.create_task(leaving.wait(), name="leave")
    renewing = asyncio.create_task(bus.renewal.run(), name="renewal") if isinstance(bus, SessionBus) else gone
    await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        session.drain()
    try:
        await working
    except LeaseLost as e:
        if bus.client.is_closed:
            raise Unavailable(CLOSED) from e
        log.info("another worker holds the session now")
    finally:
        await cancel(gone, renewing)


def ahead(settings: WorkerSettings, assignment: Assignment, secrets: Secrets) -> Opening | None:
    """Begin to bring the repository of a session that nobody has worked in, most likely; None for another.

    Whoever has another session may be saving until we claim it: what came before would lack that.
    """
    if not assignment.new:
        return None
    opening = _opening(settings, assignment, secrets)
    opening.ahead()
    return opening


def _opening(settings: WorkerSettings, assignment: Assignment, secrets: Secrets) -> Opening:
    access = Access.of(os.environ, secrets)
    hide(access.secrets(settings.repo), settings)
    return Opening(settings, assignment, access)


def hide(secrets: Sequence[str], settings: WorkerSettings) -> None:
    """Keep what came with the session out of this process's log, as what its environment holds."""
    known = Redaction([*secrets_in(os.environ), *secrets])
    configure_logging("worker", form=settings.log_form, level=settings.log_level, redaction=known)
