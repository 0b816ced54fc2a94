"""One broker or a cluster of three, every node a process of its own that can be killed, paused and started again."""

import contextlib
import json
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from schemas import rights
from schemas.bus import MAX_PAYLOAD
from services.local.broker import LIMITS, nats_server
from services.local.keys import Keys
from services.runtime.tether import tethered
from tests.chaos.fleet import Program, eventually
from tests.ports import free_port

HEALTHY_SECONDS = 60.0
# The campaign's own eyes and hands, which are nobody's in a deployment.
CAMPAIGN = rights.Client(name="campaign", writes=(">",), hears=(">",))


class Nodes:
    """The broker's nodes. Everything that is acknowledged is on disk first (`sync_interval: always`)."""

    def __init__(self, folder: Path, count: int, keys: Keys | None = None) -> None:
        self._keys = keys
        self.ports = [free_port() for _ in range(count)]
        self._routes = [free_port() for _ in range(count)]
        self.programs = [
            Program(
                name=f"broker-{place}",
                command=tethered([nats_server(), "-c", str(self._configure(folder, place))]),
                environ={},
                log=folder / f"broker-{place}.log",
            )
            for place in range(count)
        ]

    @property
    def replicas(self) -> int:
        return len(self.ports)

    @property
    def urls(self) -> list[str]:
        return [f"nats://127.0.0.1:{port}" for port in self.ports]

    async def connect(self, client: Client, **options: Any) -> None:
        """Connect `client` to whichever node answers, as who may do everything."""
        creds = str(self._keys.of(CAMPAIGN.name)) if self._keys else None
        await client.connect(self.urls, user_credentials=creds, max_reconnect_attempts=1, **options)

    def _configure(self, folder: Path, place: int) -> Path:
        store = folder / f"broker-{place}"
        store.mkdir(parents=True)
        text = (
            f"server_name: n{place}\nhost: 127.0.0.1\nport: {self.ports[place]}\nmax_payload: {MAX_PAYLOAD}\n"
            f"max_pending: {8 * MAX_PAYLOAD}\nwrite_deadline: 10s\n"
            f"jetstream {{ store_dir: {json.dumps(str(store))}, sync_interval: always, max_file_store: 64GB, {LIMITS} }}\n"
        )
        if self.replicas > 1:
            routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self._routes)
            # Without advertising, clients know no way around the lines that the nemesis cuts.
            text += (
                f"cluster {{ name: chaos, host: 127.0.0.1, port: {self._routes[place]}, no_advertise: true,\n"
                f"  routes: [{routes}] }}\n"
            )
        if self._keys:
            text += self._keys.broker.read_text()
        config = folder / f"broker-{place}.conf"
        config.write_text(text)
        return config

    async def start(self) -> None:
        for program in self.programs:
            await program.start()
        await self.healthy()

    async def healthy(self) -> None:
        """Return once JetStream answers; a cluster has its leaders then."""
        if not await eventually(self._answers, HEALTHY_SECONDS):
            raise RuntimeError("the broker does not answer")

    async def _answers(self) -> bool:
        client = Client()
        with contextlib.suppress(Exception):
            await self.connect(client, connect_timeout=1, error_cb=_expected)
            await client.request("$JS.API.INFO", b"", timeout=1)
            return True
        await client.close()
        return False

    async def step_down(self, client: Client, stream: str) -> None:
        await client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=2)


async def _expected(_: Exception) -> None:
    """A node that is not up yet is what is waited for."""
