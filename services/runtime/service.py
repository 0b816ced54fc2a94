"""The life of a service: bus, map, work, drain on SIGTERM; one shape for all of them."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import structlog
import uvloop
from aiohttp import web

from schemas.rights import inbox, streams_of
from services.runtime import lifecycle
from services.runtime.bus import Bus
from services.runtime.connection import close_connection, open_connection
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.health import Readiness, health_routes, serve
from services.runtime.lifecycle import ServiceSettings
from services.runtime.tasks import cancel
from services.runtime.topology import apply_map, map_applied
from services.runtime.tracing import configure_tracing

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Service(Protocol):
    """A service that is wired up. `run` works until it is cancelled; `drain` finishes what was begun."""

    async def run(self) -> None:
        """Work for ever."""

    async def drain(self) -> None:
        """Take nothing new, finish what runs; called before `run` is cancelled."""


async def run_service(service: Service, stop: asyncio.Event, readiness: Readiness) -> None:
    """Run `service` until `stop`, then drain it. An end of `run` before that is an error."""
    running = asyncio.create_task(service.run(), name="service")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            raise RuntimeError("the service ended by itself")
        readiness.draining = True
        await service.drain()
    finally:
        await cancel(running)
        await cancel(stopping)


Wire = Callable[[Bus, Readiness], Awaitable[Service]]


async def serve_until_told(
    name: str, settings: ServiceSettings, wire: Wire, *, pools: tuple[str, ...] = ()
) -> None:
    """Connect, see that the map is there, wire the service and run it until SIGTERM or SIGINT.

    Whoever has `pools` applies the map; everybody else waits until it is applied. Raises `SettingsError`, and `Unavailable` when the broker closes the connection for good.
    """
    configure_tracing(name, settings.otlp_endpoint)
    stop, started = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    readiness = Readiness({"started": started.is_set})
    async with contextlib.AsyncExitStack() as stack:
        if settings.health_port:
            runner = await _served(readiness, settings)
            stack.push_async_callback(runner.cleanup)
        client = await _unless(stop, open_connection(settings.nats, name, stop.set, inbox=inbox(name)))
        if client is None:
            return
        stack.push_async_callback(close_connection, client)
        bus = Bus(client, replicas=settings.nats.replicas)
        readiness.add("bus", lambda: bus.connected)
        service = await _unless(stop, _wired(name, bus, readiness, wire, pools))
        if service is not None:
            started.set()
            log.info("ready", name=name)
            await run_service(service, stop, readiness)
        if client.is_closed:
            raise Unavailable("the broker closed the connection for good; have the credentials expired?")


async def _served(readiness: Readiness, settings: ServiceSettings) -> web.AppRunner:
    try:
        return await serve(health_routes(readiness), settings.health_host, settings.health_port)
    except OSError as e:
        raise SettingsError(
            f"the health page cannot be at {settings.health_host}:{settings.health_port} ({e.strerror}); name another"
            " port with THREADMILL_HEALTH_PORT, or 0 for no page"
        ) from e


async def _wired(name: str, bus: Bus, readiness: Readiness, wire: Wire, pools: tuple[str, ...]) -> Service:
    if pools:
        await apply_map(bus, pools)
    else:
        await map_applied(bus, streams_of(name))
    return await wire(bus, readiness)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, None when `stop` comes first: a start must not outlive its SIGTERM."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await cancel(working, stopping)


def main(
    name: str, settings: Callable[[], ServiceSettings], start: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run one service process; see `lifecycle.main`."""
    lifecycle.main(name, settings, start, uvloop.run)
