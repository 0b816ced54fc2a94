"""A broker that trusts nobody, and clients on it that have their rights and no others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from schemas.rights import Rights, inbox
from services.local.broker import Broker, running_broker
from services.local.keys import Keys, local_keys
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.issuer import Issuer
from services.runtime.tasks import cancel
from services.runtime.topology import apply_map
from services.scheduler import credentials
from services.scheduler.grants import Grants

PATIENCE = 10.0


class Guarded:
    """A broker with keys, and who connects to it."""

    def __init__(self, broker: Broker, keys: Keys) -> None:
        self.broker = broker
        self.keys = keys

    def hire(self, rights: Rights, seconds: float = 3600) -> None:
        """Give a worker a credential, as the scheduler does."""
        creds = Issuer.read(self.keys.workers).creds(rights, seconds=seconds)
        self.keys.of(rights.name).write_text(creds)

    @contextlib.asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Client]:
        """Connect as `name` for the body."""
        settings = BusSettings(url=self.broker.url, creds=self.keys.of(name))
        client = await open_connection(settings, name, lambda: None, inbox=inbox(name))
        try:
            yield client
        finally:
            await close_connection(client)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    keys = local_keys(tmp_path / "keys")
    async with running_broker(tmp_path / "broker", keys.broker.read_text()) as broker:
        guarded = Guarded(broker, keys)
        async with guarded.client("scheduler") as client:
            await apply_map(Bus(client), pools=("default",))
        yield guarded


@pytest.fixture
async def scheduler(guarded: Guarded) -> AsyncIterator[Bus]:
    """The part of a scheduler that lets workers in, on a connection with the scheduler's rights."""
    async with guarded.client("scheduler") as client:
        bus = Bus(client)
        issuer = Issuer.read(guarded.keys.workers)
        tasks = [
            asyncio.create_task(each.run())
            for each in credentials.Credentials(bus, issuer, Grants(bus, required=True)).requests()
        ]
        await asyncio.sleep(0)
        await client.flush()
        yield bus
        await cancel(*tasks)


async def publish_raw(
    client: Client, subject: bytes, head: bytes = b"NATS/1.0\r\n\r\n", payload: bytes = b"{}"
) -> None:
    """Publish what the client would not write."""
    line = b"HPUB %s %d %d\r\n" % (subject, len(head), len(head) + len(payload))
    await client._send_command(line + head + payload + b"\r\n")
    await client.flush()


class Refusals:
    """Hears what the broker refuses a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._heard: asyncio.Queue[str] = asyncio.Queue()
        self._asked = 0
        client._error_cb = self._hear  # who connected has given another, which logs

    async def _hear(self, error: Exception) -> None:
        self._heard.put_nowait(str(error).lower())

    async def publish(self, subject: str, payload: bytes = b"{}", reply: str = "") -> bool:
        """Whether publishing to `subject` is refused; everything before it was dealt with by then."""
        await self._client.publish(subject, payload, reply=reply)
        return await self._refused("publish", subject)

    async def subscribe(self, subject: str) -> bool:
        """Whether subscribing to `subject` is refused."""
        subscription = await self._client.subscribe(subject)
        refused = await self._refused("subscription", subject)
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()
        return refused

    async def _refused(self, what: str, subject: str) -> bool:
        # Nobody may publish this one: once it is refused, everything before it has been dealt with.
        self._asked += 1
        marker = f'publish to "nobody.{self._asked}"'
        await self._client.publish(marker.split('"')[1])
        said: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while not any(marker in word for word in said):
                said.append(await self._heard.get())
        return any(f"permissions violation for {what}" in word and subject.lower() in word for word in said)


async def state(guarded: Guarded, *streams: str) -> dict[str, Any]:
    """Return where `streams` stand: what nobody may have changed."""
    async with guarded.client("operator") as client:
        bus = Bus(client)
        return {name: (await bus.api(f"STREAM.INFO.{name}", None))["state"]["last_seq"] for name in streams}
