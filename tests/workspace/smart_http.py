"""A git server over HTTP: git's own `http-backend` behind Basic authentication."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

USER, TOKEN = "x-access-token", "s3cret-t0ken-of-an-hour"


@dataclass
class Server:
    """What it serves, and the user names and passwords that it saw, in order."""

    root: Path
    url: str = ""
    user: str = USER
    token: str = TOKEN
    redirect: str = ""
    # Of whoever has shown the token.
    redirect_known: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hang: bool = False
    # What the next requests are answered with, one each.
    failures: list[int] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.set()
        if self.hang:
            await asyncio.sleep(600)
        if self.failures:
            return web.Response(status=self.failures.pop(0))
        if self.redirect:
            raise web.HTTPFound(self.redirect + request.path_qs)
        if not self._authorized(request):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if self.redirect_known:
            raise web.HTTPFound(self.redirect_known + request.path_qs)
        return await self._backend(request)

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return False
        user, _, password = base64.b64decode(value).decode().partition(":")
        self.seen.append((user, password))
        return (user, password) == (self.user, self.token)

    async def _backend(self, request: web.Request) -> web.Response:
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": self.user,
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.content_type,
        }
        body = await request.read()
        # It may have ended before it is given nothing, which uvloop takes for an error.
        stdin = asyncio.subprocess.PIPE if body else asyncio.subprocess.DEVNULL
        backend = await asyncio.create_subprocess_exec(
            "git", "http-backend", env=env, stdin=stdin, stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await backend.communicate(body or None)
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=content)


@asynccontextmanager
async def serving(root: Path, port: int = 0) -> AsyncIterator[Server]:
    """Serve the bare repositories below `root` on `port` of this machine, or a free one."""
    server = Server(root)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
