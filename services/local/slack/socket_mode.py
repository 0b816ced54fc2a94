"""Socket Mode: the app's WebSockets, each envelope to one of them, acknowledged or not."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable

import msgspec
from aiohttp import WSMsgType, web

from services.local.slack.answers import dumps
from services.local.slack.model import APP_ID, Json
from services.local.slack.parcels import NotTakenError, Parcel

# Slack's own most for one app.
MOST_CONNECTIONS = 10
MOST_FRAME = 4 * 1024 * 1024
CLOSE_WITHIN = 1.0


class Connection:
    """One open WebSocket and the envelopes that wait for its acknowledgement."""

    def __init__(self, socket: web.WebSocketResponse, ack_within: float) -> None:
        self._socket = socket
        self._ack_within = ack_within
        self._waiting: dict[str, asyncio.Future[Json]] = {}

    async def deliver(self, parcel: Parcel) -> Json:
        """Send a parcel and give the acknowledgement's payload. Raises NotTakenError."""
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        envelope_id = secrets.token_hex(16)
        self._waiting[envelope_id] = answer
        try:
            await self.send(parcel, envelope_id)
            return await asyncio.wait_for(answer, self._ack_within)
        except TimeoutError as e:
            raise NotTakenError("timeout") from e
        except ConnectionError as e:
            raise NotTakenError("connection_failed") from e
        finally:
            del self._waiting[envelope_id]

    async def send(self, parcel: Parcel, envelope_id: str = "") -> None:
        """Send a parcel and wait for nothing. Raises ConnectionError."""
        envelope = {
            "envelope_id": envelope_id or secrets.token_hex(16),
            "type": parcel.kind,
            "payload": parcel.payload,
            "accepts_response_payload": parcel.kind != "events_api",
            "retry_attempt": parcel.attempt,
            "retry_reason": parcel.reason,
        }
        await self._socket.send_str(dumps(envelope))

    async def disconnect(self, reason: str) -> None:
        """Say goodbye as Slack does, and close."""
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(
                dumps({"type": "disconnect", "reason": reason, "debug_info": {"host": "sim"}})
            )
        await self._socket.close()

    async def listen(self) -> None:
        """Take acknowledgements until the connection ends; what still waits then fails."""
        try:
            async for frame in self._socket:
                if frame.type == WSMsgType.TEXT:
                    self._acknowledge(frame.data)
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("The socket closed before the acknowledgement."))

    def _acknowledge(self, text: str) -> None:
        with contextlib.suppress(msgspec.DecodeError, AttributeError):
            said = msgspec.json.decode(text)
            answer = self._waiting.get(said.get("envelope_id"))
            if answer and not answer.done():
                answer.set_result(said.get("payload") or {})


class Sockets:
    """The open connections. `admit` redeems the ticket of an address that `apps.connections.open` gave."""

    def __init__(self, *, admit: Callable[[str], bool], ack_within: float) -> None:
        self._admit = admit
        self._ack_within = ack_within
        self._turn = 0
        self.open: list[Connection] = []

    def pick(self) -> Connection | None:
        """One open connection, each in its turn; Slack promises no more than an arbitrary one."""
        if not self.open:
            return None
        self._turn += 1
        return self.open[self._turn % len(self.open)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket."""
        if not self._admit(request.query.get("ticket", "")):
            return web.json_response(
                {"ok": False, "error": "This socket address is unknown or used."}, status=403
            )
        socket = web.WebSocketResponse(max_msg_size=MOST_FRAME, timeout=CLOSE_WITHIN)
        await socket.prepare(request)
        connection = Connection(socket, self._ack_within)
        if len(self.open) >= MOST_CONNECTIONS:
            await connection.disconnect("too_many_websockets")
            return socket
        self.open.append(connection)
        try:
            await socket.send_str(dumps(_hello(len(self.open))))
            await connection.listen()
        finally:
            self.open.remove(connection)
        return socket

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(connection.disconnect("refresh_requested") for connection in list(self.open)))


def _hello(connections: int) -> Json:
    return {
        "type": "hello",
        "num_connections": connections,
        "debug_info": {"host": "sim", "build_number": 1, "approximate_connection_time": 18060},
        "connection_info": {"app_id": APP_ID},
    }
