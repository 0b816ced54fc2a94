"""Health and metrics of a service on one port: /healthz (the loop turns), /readyz (work can be done), /metrics."""

from collections.abc import Callable, Mapping

from aiohttp import web

from services.runtime.metrics import exposition

Check = Callable[[], bool]

# A request that is still under way at the end; aiohttp's own minute is longer than a pod is given.
SHUTDOWN_SECONDS = 5.0


class Readiness:
    """Whether the service takes work: every check holds, and it does not drain."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self.draining = False

    def add(self, name: str, check: Check) -> None:
        """Ask `check` too."""
        self._checks[name] = check

    def failing(self) -> list[str]:
        """Return what is not ready, empty when all is."""
        return [
            *(["draining"] if self.draining else []),
            *(name for name, check in self._checks.items() if not check()),
        ]


def health_routes(readiness: Readiness) -> list[web.RouteDef]:
    """Return the three routes."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        failing = readiness.failing()
        return web.Response(status=503 if failing else 200, text=", ".join(failing) or "ok\n")

    async def metrics(_: web.Request) -> web.Response:
        body, content_type = exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})

    return [web.get("/healthz", live), web.get("/readyz", ready), web.get("/metrics", metrics)]


async def serve(routes: list[web.RouteDef], host: str, port: int) -> web.AppRunner:
    """Serve `routes`; the caller cleans the runner up."""
    app = web.Application()
    app.add_routes(routes)
    # Nobody who belongs here compresses; unpacking a bomb would hold up everything in this process.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
