"""The connection to NATS: by settings, with TLS and credentials, reconnecting for ever."""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from services.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

# nats-py closes for good after 60 tries by default; a broker may be away for longer than that.
RECONNECT_FOR_EVER = -1
RECONNECT_WAIT = 0.25
PENDING_BYTES = 16 * 2**20


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is and how to prove who we are. Each of the files may be left out."""

    url: str = "nats://127.0.0.1:4222"
    creds: Path | None = None
    nkey_seed: Path | None = None
    ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    replicas: int = 1


def _tls(settings: BusSettings) -> ssl.SSLContext | None:
    if not (settings.ca or settings.tls_cert):
        return None
    context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    if settings.tls_cert:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


async def open_connection(
    settings: BusSettings, name: str, on_closed: Callable[[], None], *, patience: float = math.inf
) -> Client:
    """Return a connected client; waits `patience` seconds for a broker that is away, then raises `Unavailable`.

    `on_closed` hears when the connection is closed for good.
    """
    until = time.monotonic() + patience

    async def closed() -> None:
        on_closed()

    async def failed(error: Exception) -> None:
        log.warning("bus error", error=str(error) or type(error).__name__)

    async def lost() -> None:
        log.warning("bus disconnected")

    async def back() -> None:
        log.info("bus reconnected")

    while True:
        try:
            return await nats.connect(
                settings.url,
                name=name,
                tls=_tls(settings),
                user_credentials=str(settings.creds) if settings.creds else None,
                nkeys_seed=str(settings.nkey_seed) if settings.nkey_seed else None,
                max_reconnect_attempts=RECONNECT_FOR_EVER,
                reconnect_time_wait=RECONNECT_WAIT,
                pending_size=PENDING_BYTES,
                allow_reconnect=True,
                connect_timeout=2,
                closed_cb=closed,
                error_cb=failed,
                disconnected_cb=lost,
                reconnected_cb=back,
            )
        except (OSError, nats.errors.NoServersError, TimeoutError) as e:
            if time.monotonic() >= until:
                raise Unavailable(
                    f"no broker answers at {settings.url}; is it running, and are the settings right?"
                ) from e
            log.warning("no broker yet", url=settings.url, error=str(e) or type(e).__name__)
            await asyncio.sleep(RECONNECT_WAIT)


async def close_connection(client: Client) -> None:
    """Send what is buffered and close; a broker that is away is no error any more."""
    with contextlib.suppress(OSError, NatsError, TimeoutError):
        if client.is_connected:
            await client.flush(timeout=2)
    with contextlib.suppress(OSError, NatsError):
        await client.close()
