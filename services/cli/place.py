"""Which Threadmill the command line talks to: a broker by settings, or the local mode of a data folder."""

import contextlib
import getpass
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import structlog
import typer
import uvloop

from schemas.keys import InvalidKey, SessionKey
from schemas.rights import ADMINISTERING, OPERATING, Client
from services.cli.words import fail
from services.local.home import Address, Home, HomeError
from services.local.keys import Keys
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
CRITICAL = 50
PEOPLE = OPERATING.name, ADMINISTERING.name


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an operator's command line: THREADMILL_NATS_URL, THREADMILL_NATS_CREDS, ..."""

    nats: BusSettings = BusSettings()


def default_data() -> Path:
    """Return the data folder when none is named."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "threadmill"


def operator() -> str:
    """Return who acts here, for the audit trail: the name on this machine, or the number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def parsed_key(text: str) -> SessionKey:
    """Return the session's key. Raises `typer.BadParameter`."""
    try:
        return SessionKey.parse(text)
    except InvalidKey as e:
        raise typer.BadParameter(f"{e}; `threadmill sessions` lists the keys") from e


def by_settings(data: Path | None) -> bool:
    """Whether the settings name a broker, and no data folder overrules them."""
    return data is None and bool(os.environ.get("THREADMILL_NATS_URL"))


@contextlib.asynccontextmanager
async def connected(data: Path | None, client: Client = OPERATING) -> AsyncIterator[Bus]:
    """Connect to the broker that the settings name, else as `client` to the local mode of `data`. Raises `HomeError`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
    settings = await _broker(data, client.name)
    connection = await open_connection(settings, "threadmill cli", lambda: None, patience=CONNECT_SECONDS)
    try:
        yield Bus(connection, replicas=settings.replicas)
    finally:
        await close_connection(connection)


async def _broker(data: Path | None, client: str = OPERATING.name) -> BusSettings:
    if by_settings(data):
        return load(Operator, os.environ).nats
    address = await local(data)
    return BusSettings(url=address.nats, creds=Keys(Home(data or default_data()).keys).of(client))


def nats_url(data: Data = None) -> None:
    """Print the broker's address, for the nats CLI.

    export NATS_URL="$(threadmill nats-url)"
    """
    typer.echo(uvloop.run(_broker(data)).url)


def nats_creds(
    client: Annotated[
        str, typer.Argument(metavar="CLIENT", help="Whose: operator, or admin, who changes streams.")
    ] = OPERATING.name,
    data: Data = None,
) -> None:
    """Print where the operator's credential lies, for the nats CLI.

    export NATS_CREDS="$(threadmill nats-creds)"
    """
    if client not in PEOPLE:
        fail(f"{client} is none of {', '.join(PEOPLE)}")
    found = uvloop.run(_broker(data, client)).creds
    if found is None:
        fail("the settings name a broker without credentials; the nats CLI needs none for it")
    typer.echo(str(found))


async def local(data: Path | None) -> Address:
    """Return the local mode of `data` once it has proved to be the one. Raises `HomeError`."""
    home = Home(data or default_data())
    address = home.address()
    nonce = secrets.token_hex(16)
    try:
        proof = await _proof(address, nonce)
    except (aiohttp.ClientError, TimeoutError) as e:
        raise HomeError(
            f"no threadmill dev answers at {address.url} any more; start it again in {home.path}"
        ) from e
    if not home.proves(nonce, proof):
        raise HomeError(
            f"what answers at {address.url} is not the threadmill dev of {home.path}; nothing was sent to it"
        )
    return address


async def _proof(address: Address, nonce: str) -> str:
    timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{address.url}/local/proof", params={"nonce": nonce}) as answer,
    ):
        return await answer.text() if answer.status == 200 else ""
