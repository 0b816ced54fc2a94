"""The one port of local mode: the page and the simulator's doors, Slack's requests, health, and the proof of who we are."""

import os
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from services.local.errors import LocalError
from services.local.guard import check_bound, guard_middleware, require_loopback_host
from services.local.home import Home
from services.runtime.health import Readiness, health_routes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PortError(LocalError):
    """The port cannot be listened on."""


class SlackDoor:
    """Slack's requests on their way to an ingress that is wired after the port is open; until then 503."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def open(self, routes: list[web.RouteDef]) -> None:
        """Send requests to `routes` from now on."""
        self._handlers = {route.path: route.handler for route in routes}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes that stand for Slack's."""
        return [web.post("/slack/{rest:.*}", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        handler = self._handlers.get(request.path)
        if handler is None:
            return web.Response(status=503 if not self._handlers else 404)
        return await handler(request)


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
