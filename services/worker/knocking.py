"""Asking to be let into the pool: with the cluster's word for who we are, before anything else on the bus."""

import asyncio
from pathlib import Path

import structlog

from schemas.base import MalformedMessage
from schemas.credentials import CREDENTIALS, Credential, Denied, Knock
from schemas.rights import inbox
from schemas.worker_rights import DOOR
from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)

ASK_SECONDS = 5.0
AGAIN_SECONDS = 0.2


async def let_in(settings: WorkerSettings, door: Proof, token: Path) -> Proof:
    """Show what `token` holds until somebody answers; return the proof of the pool. Raises `SettingsError` when refused."""
    key = NKey.generate("user")
    client = await open_connection(
        settings.nats, settings.worker, lambda: None, inbox=inbox(DOOR.name), proof=door
    )
    try:
        return Proof(key, await _shown(Bus(client), settings, key.public, token))
    finally:
        await close_connection(client)


async def _shown(bus: Bus, settings: WorkerSettings, user: str, token: Path) -> str:
    subject = Knock.subject(settings.pool, settings.worker)
    while True:
        # Its node renews it.
        request = Knock(user=user, token=_read(token))
        try:
            word = CREDENTIALS.decode(await bus.request(subject, request, deadline=ASK_SECONDS))
        except (Unavailable, MalformedMessage) as e:
            log.warning("nobody lets us in yet", reason=str(e))
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if isinstance(word, Credential):
            return word.jwt
        reason = word.reason if isinstance(word, Denied) else "the answer is of a later version"
        raise SettingsError(f"the scheduler lets this worker not in: {reason}")


def _read(token: Path) -> str:
    try:
        return token.read_text().strip()
    except OSError as e:
        raise SettingsError(f"THREADMILL_TOKEN: {token} cannot be read ({e.strerror})") from e
