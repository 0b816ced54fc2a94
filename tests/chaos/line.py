"""A TCP line between a service and what it talks to, which can be cut, slowed down, silenced, or lose replies."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Literal

Fault = Literal["none", "cut", "slow", "silent", "lost replies", "errors"]

CHUNK = 65_536
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)


class Line:
    """Listens on a port of its own; each connection goes to one of `upstreams` that answers, as a Service does it.

    `fault` is what happens now: `cut` ends and refuses connections, `slow` delays by `delay` seconds, `silent` passes
    nothing on, `lost replies` cuts a connection instead of passing a reply on, `errors` answers HTTP's 503.
    """

    def __init__(self, name: str, upstreams: Sequence[int]) -> None:
        self.name = name
        self.fault: Fault = "none"
        self.delay = 0.3
        self._upstreams = list(upstreams)
        self._open: set[asyncio.Task[None]] = set()
        self._healed = asyncio.Event()
        self._healed.set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.end_connections()
        if self._open:
            await asyncio.wait(self._open)

    def strike(self, fault: Fault) -> None:
        self.fault = fault
        self._healed.clear()
        if fault == "cut":
            self.end_connections()

    def heal(self) -> None:
        # What hung in silence is over: neither side knows what the other one heard.
        if self.fault == "silent":
            self.end_connections()
        self.fault = "none"
        self._healed.set()

    def end_connections(self) -> None:
        for task in self._open:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                await self._connected(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "cut":
            return
        if self.fault == "errors":
            await reader.read(CHUNK)
            writer.write(REFUSAL)
            await writer.drain()
            return
        onward_reader, onward_writer = await self._onward()
        try:
            ways = {
                asyncio.create_task(self._pass_on(reader, onward_writer)),
                asyncio.create_task(self._pass_on(onward_reader, writer, replies=True)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways)
        finally:
            onward_writer.transport.abort()

    async def _onward(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for port in random.sample(self._upstreams, len(self._upstreams)):
            with contextlib.suppress(ConnectionError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError(self.name)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if self.fault == "silent":
                    await self._healed.wait()
                if self.fault == "slow":
                    await asyncio.sleep(self.delay)
                if replies and self.fault in ("lost replies", "errors"):
                    return
                writer.write(data)
                await writer.drain()
