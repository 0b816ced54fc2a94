"""Server-Sent Events: tells an open page which threads changed, each once however often they did."""

import asyncio

from aiohttp import web

from services.local.slack.answers import dumps

MOST_WATCHERS = 64
MOST_PENDING = 1_000
# A comment now and then finds a page that is gone.
HEARTBEAT = 15.0


class Watchers:
    """The open event streams. Each keeps the threads that changed since it last wrote, the oldest dropped first."""

    def __init__(self) -> None:
        self._open: set[_Watcher] = set()
        self._closing = asyncio.Event()

    def changed(self, channel: str, root: str) -> None:
        """Note a change for everybody who watches."""
        for watcher in self._open:
            watcher.note(channel, root)

    def close(self) -> None:
        """End every stream."""
        self._closing.set()
        for watcher in self._open:
            watcher.wake.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one page: `event: change` with `{"channel", "ts"}`, `ts` the thread's root."""
        if len(self._open) >= MOST_WATCHERS:
            return web.json_response({"ok": False, "error": "Too many pages watch; close one."}, status=503)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        watcher = _Watcher()
        self._open.add(watcher)
        try:
            await response.prepare(request)
            await response.write(b": open\n\n")
            while not self._closing.is_set():
                await response.write(await watcher.next_lines())
        except ConnectionError:
            pass  # the page is gone, which is how these streams end
        finally:
            self._open.discard(watcher)
        return response


class _Watcher:
    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._pending: dict[tuple[str, str], None] = {}

    def note(self, channel: str, root: str) -> None:
        self._pending[channel, root] = None
        if len(self._pending) > MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self.wake.set()

    async def next_lines(self) -> bytes:
        try:
            await asyncio.wait_for(self.wake.wait(), HEARTBEAT)
        except TimeoutError:
            return b": still here\n\n"
        self.wake.clear()
        pending, self._pending = self._pending, {}
        lines = (
            f"event: change\ndata: {dumps({'channel': channel, 'ts': ts})}\n\n" for channel, ts in pending
        )
        return "".join(lines).encode()
