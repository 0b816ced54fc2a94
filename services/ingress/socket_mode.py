"""Slack's sockets: several at a time, each replaced before it goes, each payload acknowledged only after the intake.

The SDK's own client closes a socket before it opens the next, acknowledges on whichever is current and reuses an
address that is spent, so only the call for an address is the SDK's; the rest of the protocol is four frames.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import aiohttp
import msgspec
import structlog

from services.ingress.intake import Intake, Reply
from services.ingress.metrics import REDELIVERED
from services.ingress.slack_api import SlackError
from services.ingress.slack_transport import SlackTransport
from services.runtime.metrics import REFUSED

log = structlog.get_logger(__name__)

MOST_FRAME = 4 * 2**20
# Two pings unanswered and the socket is dead.
HEARTBEAT = 10.0
# So long a socket that Slack is about to close still hears, while its successor already does.
LINGER = 30.0
BACKOFF = (0.2, 1.0, 2.0, 5.0, 10.0)
# A socket that lived for less counts as a failure.
SHORT = 5.0
# What one socket may have under way before it reads on.
AT_ONCE = 256


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A frame of Slack's."""

    type: str
    envelope_id: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    reason: str = ""
    retry_attempt: int | None = None


class Ack(msgspec.Struct, frozen=True, omit_defaults=True):
    """Our answer to an envelope."""

    envelope_id: str
    payload: msgspec.Raw | None = None


Take = Callable[[bytes], Awaitable[Reply]]


class Socket:
    """One open socket; `leaving` is set as soon as a successor is wanted."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, takes: Mapping[str, Take]) -> None:
        self._socket = socket
        self._takes = takes
        self._room = asyncio.Semaphore(AT_ONCE)
        self._until = asyncio.timeout(None)
        self.leaving = asyncio.Event()

    def leave(self, within: float) -> None:
        """Hear on for `within` seconds at most, and answer what was heard."""
        self.leaving.set()
        # Not begun: `listen` sees that it is left. Already over: nothing is left to shorten.
        with contextlib.suppress(RuntimeError):
            self._until.reschedule(asyncio.get_running_loop().time() + within)

    async def listen(self) -> None:
        """Take what comes until the socket ends or is left."""
        try:
            async with asyncio.TaskGroup() as answers:
                with contextlib.suppress(TimeoutError):
                    async with self._until:
                        await self._hear(answers)
        finally:
            self.leaving.set()
            await self._socket.close()

    async def _hear(self, answers: asyncio.TaskGroup) -> None:
        if not self.leaving.is_set():
            async for frame in self._socket:
                await self._heed(_read(frame), answers)

    async def _heed(self, envelope: Envelope | None, answers: asyncio.TaskGroup) -> None:
        if envelope is None:
            return
        if envelope.type == "disconnect":
            log.info("socket is replaced", reason=envelope.reason)
            self.leave(LINGER)
        elif envelope.envelope_id:
            if envelope.retry_attempt:
                REDELIVERED.inc()
            await self._room.acquire()
            task = answers.create_task(self._answer(envelope))
            task.add_done_callback(lambda _: self._room.release())

    async def _answer(self, envelope: Envelope) -> None:
        take = self._takes.get(envelope.type)
        try:
            reply = await take(bytes(envelope.payload)) if take else Reply()
        except Exception:
            # One payload that we cannot take must not cost the others their socket.
            log.exception("payload failed", type=envelope.type)
            return
        if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return
        given = reply.status == HTTPStatus.OK and reply.body
        ack = Ack(envelope.envelope_id, msgspec.Raw(msgspec.json.encode(reply.body)) if given else None)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_str(msgspec.json.encode(ack).decode())


class SocketMode:
    """Keeps `connections` sockets open. `run` works for ever; `close` hears nothing new and lets `run` end."""

    def __init__(self, app_token: str, base_url: str, intake: Intake, connections: int) -> None:
        self._slack = SlackTransport(app_token, base_url=base_url)
        self._takes: dict[str, Take] = {"events_api": intake.event, "interactive": intake.interaction}
        self._connections = connections
        self._sockets: set[Socket] = set()
        self._closing = False

    def ready(self) -> bool:
        """Whether a socket is open."""
        return bool(self._sockets)

    async def run(self) -> None:
        """Listen for ever."""
        async with (
            self._slack,
            aiohttp.ClientSession(trust_env=True) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(self._connections):
                tasks.create_task(self._keep_open(session, tasks), name=f"socket {number}")

    def close(self) -> None:
        """Hear nothing new; what was heard is still answered."""
        self._closing = True
        for socket in self._sockets:
            socket.leave(0)

    async def _keep_open(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._closing:
            since, wait = time.monotonic(), 0.0
            try:
                await self._one(session, tasks)
            except (SlackError, aiohttp.ClientError, TimeoutError, OSError) as e:
                log.warning("no socket", error=str(e) or type(e).__name__)
                wait = (e.retry_after or 0.0) if isinstance(e, SlackError) else 0.0
            failures = failures + 1 if time.monotonic() - since < SHORT else 0
            if failures and not self._closing:
                await asyncio.sleep(max(wait, BACKOFF[min(failures, len(BACKOFF)) - 1]))

    async def _one(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        """Open a socket, and return when it wants a successor."""
        url = str((await self._slack.call("apps.connections.open"))["url"])
        opened = await session.ws_connect(url, heartbeat=HEARTBEAT, max_msg_size=MOST_FRAME)
        socket = Socket(opened, self._takes)
        self._sockets.add(socket)
        if self._closing:
            socket.leave(0)
        listening = tasks.create_task(socket.listen(), name="socket listening")
        listening.add_done_callback(lambda _: self._sockets.discard(socket))
        await socket.leaving.wait()


def _read(frame: aiohttp.WSMessage) -> Envelope | None:
    if frame.type is not aiohttp.WSMsgType.TEXT:
        return None
    try:
        return msgspec.json.decode(frame.data, type=Envelope)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        REFUSED.labels("ingress", "malformed_frame").inc()
        log.warning("malformed frame", error=str(e))
        return None
