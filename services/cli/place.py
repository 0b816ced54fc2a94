"""Which Threadmill the command line talks to: a broker by settings, or the local mode of a data folder."""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import structlog
import typer

from services.local.home import Address, Home, HomeError
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.settings import load

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="The data folder of the `threadmill dev` to talk to.", envvar="THREADMILL_DATA"
    ),
]
CLIENT = {"X-Threadmill-Client": "cli"}
CONNECT_SECONDS = 5


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an operator's command line: THREADMILL_NATS_URL, THREADMILL_NATS_CREDS, ..."""

    nats: BusSettings = BusSettings()


def default_data() -> Path:
    """Return the data folder when none is named."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "threadmill"


@contextlib.asynccontextmanager
async def connected(data: Path | None) -> AsyncIterator[Bus]:
    """Connect to the broker that the settings name, else to the local mode of `data`. Raises `HomeError`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if data is None and os.environ.get("THREADMILL_NATS_URL"):
        settings = load(Operator, os.environ).nats
    else:
        settings = BusSettings(url=(await local(data)).nats)
    client = await open_connection(settings, "threadmill cli", lambda: None, patience=CONNECT_SECONDS)
    try:
        yield Bus(client)
    finally:
        await close_connection(client)


async def local(data: Path | None) -> Address:
    """Return the local mode of `data` once it has proved to be the one. Raises `HomeError`."""
    home = Home(data or default_data())
    address = home.address()
    nonce = secrets.token_hex(16)
    try:
        timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{address.url}/local/proof", params={"nonce": nonce}) as answer,
        ):
            proof = await answer.text() if answer.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError) as e:
        raise HomeError(f"nothing answers at {address.url}; start `threadmill dev` again") from e
    if not home.proves(nonce, proof):
        raise HomeError(
            f"what answers at {address.url} is not the threadmill dev of {home.path}; nothing was sent to it"
        )
    return address
