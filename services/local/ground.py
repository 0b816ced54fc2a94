"""What everything in local mode stands on: the data folder, the broker, the bus, and which agent can run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from schemas.bus import WRITERS
from schemas.rights import LOCAL, inbox
from services.local.agent_choice import Choice, choose
from services.local.broker import Broker, end_leftover, running_broker
from services.local.home import Home
from services.local.keys import Keys, adopted, local_keys
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.health import Readiness
from services.runtime.topology import apply_map
from services.scheduler.settings import SchedulerSettings

SLACK_TOKENS = ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN")


class DevSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `threadmill dev` is told.

    `environ` is where Slack's tokens are looked up and what the agent's share is taken from; `worker` are settings that
    its workers get in addition. `time_scale` shortens Slack's long waits in tests.
    """

    data: Path
    environ: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 8700
    agent: str | None = None
    repo: str | None = None
    scheduler: SchedulerSettings = SchedulerSettings()
    worker: Mapping[str, str] = {}
    time_scale: float = 1.0

    @property
    def real_slack(self) -> bool:
        """Whether Slack's own tokens are there."""
        return all(self.environ.get(name) for name in SLACK_TOKENS)


@dataclass(frozen=True)
class Ground:
    """The ground of a running local mode."""

    settings: DevSettings
    home: Home
    broker: Broker
    bus: Bus
    keys: Keys
    choice: Choice
    readiness: Readiness

    @contextlib.asynccontextmanager
    async def connected(self, name: str) -> AsyncIterator[Bus]:
        """Connect as the service `name` for the body, with its rights and no others."""
        async with _connected(self.broker.url, self.keys, name) as bus:
            self.readiness.add(f"bus of {name}", lambda: bus.connected)
            yield bus


@contextlib.asynccontextmanager
async def _connected(url: str, keys: Keys, name: str, replicas: int = 1) -> AsyncIterator[Bus]:
    settings = BusSettings(url=url, creds=keys.of(name))
    client = await open_connection(settings, f"threadmill {name}", lambda: None, inbox=inbox(name))
    try:
        yield Bus(client, replicas=replicas)
    finally:
        await close_connection(client)


@contextlib.asynccontextmanager
async def prepared(settings: DevSettings) -> AsyncIterator[Ground]:
    """Occupy the folder, start the broker, apply the map. Raises `HomeError`, `KeysError` and `BrokerError`."""
    home, choice = Home(settings.data), choose(settings.agent, settings.environ, Path.home())
    with home.occupied():
        keys, store = local_keys(home.keys), home.path / "broker"
        await asyncio.to_thread(end_leftover, store)
        adopted(keys, store / "jetstream")
        async with (
            running_broker(store, keys.broker.read_text()) as broker,
            grounded(settings, home, choice, keys, broker) as ground,
        ):
            yield ground


@contextlib.asynccontextmanager
async def grounded(
    settings: DevSettings, home: Home, choice: Choice, keys: Keys, broker: Broker, *, replicas: int = 1
) -> AsyncIterator[Ground]:
    """Stand on a `broker` that runs and knows the `keys`; of all that it stores there are so many `replicas`."""
    async with _connected(broker.url, keys, LOCAL.name, replicas) as bus:
        await apply_map(bus, pools=(settings.scheduler.pool,))
        # The folder is ours alone: who still has partitions was killed, and nobody need wait until they expire.
        await bus.api(f"STREAM.PURGE.KV_{WRITERS.name}", {})
        readiness = Readiness({"bus": lambda: bus.connected})
        yield Ground(settings, home, broker, bus, keys, choice, readiness)
