"""Schedulers on a real broker, their workers tasks that speak the real protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.local.broker import Broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.health import Readiness
from services.runtime.issuer import Issuer
from services.runtime.service import Service
from services.runtime.tasks import cancel
from services.scheduler.app import wire
from services.scheduler.launcher import Launcher
from services.scheduler.settings import SchedulerSettings
from tests.scheduler.task_launcher import TaskLauncher


class Replica:
    """One scheduler with its launcher. `crash` ends it as SIGKILL would: nothing is finished or said."""

    def __init__(self, broker: Broker, launcher: Launcher, issuer: Issuer | None = None) -> None:
        self.broker = broker
        self.launcher = launcher
        self.issuer = issuer
        self.service: Service | None = None
        self.readiness = Readiness({})
        self._bus: Bus | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self, settings: SchedulerSettings) -> None:
        client = await open_connection(BusSettings(url=self.broker.url), "scheduler", lambda: None)
        self._bus = Bus(client)
        self.service = await wire(self._bus, self.readiness, settings, self.launcher, self.issuer)
        self._running = asyncio.create_task(self.service.run())

    async def crash(self) -> None:
        if self._running and self._bus:
            await cancel(self._running)
            await close_connection(self._bus.client)
            self._running = None


Start = Callable[..., "asyncio.Future[Replica]"]


@pytest.fixture
async def scheduler(broker: Broker, bus: Bus) -> AsyncIterator[Start]:
    replicas: list[Replica] = []

    async def start(launcher=None, issuer=None, **rules) -> Replica:
        replica = Replica(broker, launcher or TaskLauncher(broker.url), issuer)
        replicas.append(replica)
        await replica.start(SchedulerSettings(**rules))
        return replica

    yield start  # type: ignore[misc]
    for replica in replicas:
        await replica.crash()
    for replica in replicas:
        await replica.launcher.terminate_all(0)
