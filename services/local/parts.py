"""The services of local mode, each on a connection with its own rights, run beside each other in one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web

from schemas.rights import SERVICES
from services.archiver import app as archiver
from services.archiver.settings import ArchiverSettings
from services.ingress import app as ingress
from services.ingress.settings import IngressSettings, load_settings
from services.local.ground import DevSettings, Ground
from services.local.slack.app import Simulator
from services.runtime.issuer import Issuer
from services.runtime.service import Service
from services.runtime.settings import names
from services.runtime.tasks import cancel
from services.scheduler import app as scheduler
from services.scheduler.process_launcher import ProcessLauncher
from services.worker.settings import WorkerSettings


class Parts:
    """The running services, in the order in which they are drained."""

    def __init__(self, services: Sequence[tuple[str, Service]], slack_routes: list[web.RouteDef]) -> None:
        self._services = services
        self._running = {name: asyncio.create_task(service.run(), name=name) for name, service in services}
        self.slack_routes = slack_routes

    async def until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set; raise what ended a service before that."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait(
                [stopping, *self._running.values()], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopping}:
                task.result()
                raise RuntimeError(f"{task.get_name()} ended by itself")
        finally:
            await cancel(stopping)

    async def drain(self) -> None:
        """Drain each service, then end it."""
        for name, service in self._services:
            if not self._running[name].done():
                await service.drain()
            await cancel(self._running[name])


@contextlib.asynccontextmanager
async def wired(ground: Ground, simulator: Simulator | None, url: str) -> AsyncIterator[Parts]:
    """Run the services for the body; the people's side goes first when it ends, the archive last."""
    readiness, settings = ground.readiness, ground.settings
    async with contextlib.AsyncExitStack() as stack:
        buses = {each.name: await stack.enter_async_context(ground.connected(each.name)) for each in SERVICES}
        folder = ArchiverSettings(folder=ground.home.path / "archive")
        archive = await archiver.wire(buses["archiver"], readiness, folder)
        issuer = Issuer.read(ground.keys.workers)
        launcher = ProcessLauncher(
            ground.home.path, _worker_settings(ground), environ=settings.environ, issuer=issuer
        )
        bus = buses["scheduler"]
        schedule = await scheduler.wire(bus, readiness, settings.scheduler, launcher, issuer)
        asked = _ingress_settings(settings, simulator, url)
        slack = await ingress.wire(buses["ingress"], readiness, asked)
        parts = Parts([("ingress", slack), ("scheduler", schedule), ("archiver", archive)], slack.routes())
        try:
            yield parts
        finally:
            await parts.drain()


def _worker_settings(ground: Ground) -> dict[str, str]:
    settings = ground.settings
    asked = {
        name: settings.environ[name]
        for name in names(WorkerSettings)
        if name in settings.environ and not name.startswith("THREADMILL_NATS_")
    }
    given = {
        "THREADMILL_NATS_URL": ground.broker.url,
        "THREADMILL_NATS_REPLICAS": str(ground.bus.replicas),
        "THREADMILL_AGENT": ground.choice.agent,
        "THREADMILL_LOG_FORM": "text",
    }
    repo = {"THREADMILL_REPO": settings.repo} if settings.repo else {}
    return asked | dict(settings.worker) | given | repo | dict(ground.choice.env)


def _ingress_settings(settings: DevSettings, simulator: Simulator | None, url: str) -> IngressSettings:
    if simulator is None:
        return msgspec.structs.replace(load_settings(settings.environ), http_port=0)
    return IngressSettings(
        bot_token=simulator.bot_token,
        app_token=simulator.app_token,
        signing_secret=simulator.signing_secret,
        slack_api_url=f"{url}/api/",
        http_port=0,
    )
