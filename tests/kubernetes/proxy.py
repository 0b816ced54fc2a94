"""A reverse proxy before the API server, for what a real one does only when it is in need: it refuses calls, and loses answers."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web
from yarl import URL

from tests.kubernetes.control_plane import ControlPlane

PATIENCE = 60.0
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Proxy:
    """Passes all on to `plane`. A call is named by its verb and kind: `create jobs`, `watch pods`."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._trusted = ssl.create_default_context(cafile=str(plane.certificate))
        self._http: aiohttp.ClientSession
        self._watches: set[asyncio.Transport] = set()
        self._failing: dict[str, int] = {}
        self._done = self._silent_from = ""
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._news = asyncio.Condition()
        # Calls that failed here, and those that the API server has done: both in their order.
        self.failed: list[str] = []
        self.passed: list[str] = []

    def fail(self, failing: dict[str, int], *, done: str = "") -> None:
        """Answer calls with those statuses from now on, and end all watches; the call `done` is done all the same."""
        self._failing, self._done = failing, done
        self.failed.clear()
        for watch in self._watches:
            watch.close()

    def mend(self) -> None:
        """Pass everything on again."""
        self._failing = {}

    def fall_silent(self, call: str) -> None:
        """From the next such call on, which is done, let nobody hear anything of the API server."""
        self._silent_from = call
        self.passed.clear()

    def speak(self) -> None:
        """Let all that is held back go, and what comes."""
        self._speaks.set()

    async def until_failed(self, *calls: str) -> None:
        """Return once each of `calls` has failed more than once. Raises `TimeoutError`."""
        await self._until(lambda: all(self.failed.count(each) > 1 for each in calls))

    async def until_passed(self, call: str, times: int) -> None:
        """Return once the API server has answered such a call so many times. Raises `TimeoutError`."""
        await self._until(lambda: self.passed.count(call) >= times)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(holds)

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Answer one call: as the API server does, unless it is to fail."""
        call = call_of(request)
        if call == self._silent_from:
            self._speaks.clear()
            self._silent_from = ""
        if (status := self._failing.get(call)) is None:
            return await self._answer(request, call)
        if call == self._done:
            await self._do(request)
        await self._note(self.failed, call)
        return web.Response(status=status, headers={"Retry-After": "1"})

    async def _do(self, request: web.Request) -> None:
        async with await self._ask(request) as answer:
            await answer.read()

    async def _answer(self, request: web.Request, call: str) -> web.StreamResponse:
        connection = request.transport
        if connection and call.startswith("watch"):
            self._watches.add(connection)
        try:
            async with await self._ask(request) as answer:
                told = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
                await self._note(self.passed, call)
                await self._speaks.wait()
                await told.prepare(request)
                async for chunk in answer.content.iter_any():
                    await self._speaks.wait()
                    await told.write(chunk)
                return told
        finally:
            if connection:
                self._watches.discard(connection)

    async def _ask(self, request: web.Request) -> aiohttp.ClientResponse:
        url = URL(f"{self._plane.url}{request.raw_path}", encoded=True)
        kept = ("Authorization", "Accept", "Content-Type")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        body = await request.read()
        return await self._http.request(request.method, url, headers=headers, data=body, ssl=self._trusted)

    async def _note(self, calls: list[str], call: str) -> None:
        async with self._news:
            calls.append(call)
            self._news.notify_all()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve under the API server's own certificate for the body, on that port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        known = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        known.load_cert_chain(self._plane.certificate, self._plane.certificate.with_suffix(".key"))
        endless = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=endless, connector=aiohttp.TCPConnector(limit=0)) as http:
            self._http = http
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=known).start()
                yield runner.addresses[0][1]
            finally:
                await runner.cleanup()


def call_of(request: web.Request) -> str:
    """Return what `request` asks for, the path where it is about no object of a namespace."""
    _, _, within = request.path.partition("/namespaces/")
    if not within:
        return request.path
    _, kind, *name = within.split("/")
    reads = "watch" if "watch" in request.query else "get" if name else "list"
    return f"{VERBS.get(request.method, reads)} {kind}"
