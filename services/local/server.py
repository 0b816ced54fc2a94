"""The one port of local mode: the page and the simulator's doors, Slack's requests, health, and the proof of who we are."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from services.local.errors import LocalError
from services.local.guard import check_bound, guard_middleware, require_loopback_host
from services.local.home import Home
from services.runtime.health import Readiness, health_routes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# Slack waits 3 s for an answer.
OPEN_WITHIN = 2.0


class PortError(LocalError):
    """The port cannot be listened on."""


class SlackDoor:
    """Slack's requests on their way to an ingress that is wired after the port is open; until then they wait."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._opened = asyncio.Event()

    def open(self, routes: list[web.RouteDef]) -> None:
        """Send requests to `routes` from now on."""
        self._handlers = {route.path: route.handler for route in routes}
        self._opened.set()

    def is_open(self) -> bool:
        """Whether requests are taken."""
        return self._opened.is_set()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes that stand for Slack's."""
        return [web.post("/slack/{rest:.*}", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: 503, for another delivery, when the ingress does not stand in time."""
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                await self._opened.wait()
        except TimeoutError:
            return web.Response(status=503)
        handler = self._handlers.get(request.path)
        return await handler(request) if handler else web.Response(status=404)


def local_routes(home: Home, readiness: Readiness) -> list[web.RouteDef]:
    """Return health, and `/local/proof`: what only a reader of our token file can say about a nonce."""

    async def prove(request: web.Request) -> web.Response:
        return web.Response(text=home.proof(request.query.get("nonce", "")))

    return [*health_routes(readiness), web.get("/local/proof", prove)]


def empty_app() -> web.Application:
    """Return an application that holds no door to the simulator, under the same guard."""
    return web.Application(middlewares=[guard_middleware()])


def url_of(host: str, port: int) -> str:
    """Return where a browser finds what listens on `host`."""
    plain = host.strip("[]")
    return f"http://[{plain}]:{port}" if ":" in plain else f"http://{plain}:{port}"


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve `app` on loopback; return its runner and port. Raises `PortError` and `NotLoopbackError`."""
    address = require_loopback_host(host)
    # Nobody who belongs here compresses; unpacking a bomb would hold up everything in this process.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, auto_decompress=False)
    await runner.setup()
    try:
        listening = socket.create_server((address, port), family=_family(address))
    except OSError as e:
        await runner.cleanup()
        raise PortError(
            f"port {port} cannot be had ({os.strerror(e.errno or 0)}); choose another with --port, or 0 for a free one"
        ) from e
    check_bound([listening])
    await web.SockSite(runner, listening).start()
    return runner, int(runner.addresses[0][1])
