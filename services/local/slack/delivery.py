"""Brings events and presses to the app: over a socket if one is open, else signed over HTTP, again if not taken."""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
from collections import defaultdict
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec

from services.local.slack.api import dumps
from services.local.slack.clock import Clock
from services.local.slack.events import Kind
from services.local.slack.faults import Faults
from services.local.slack.model import Json
from services.local.slack.socket_mode import Connection, Sockets

ACK_WITHIN = 3.0
# Slack tries again at once, after a minute and after five.
RETRIES = (0.0, 60.0, 300.0)
MOST_UNDER_WAY = 10_000
MOST_ANSWER = 1024 * 1024


class Parcel(NamedTuple):
    """One payload on its way. `place` keeps the first attempts of one channel in order."""

    kind: Kind
    payload: Json
    place: str


class NotTakenError(Exception):
    """The app did not acknowledge. The text is Slack's `X-Slack-Retry-Reason`."""


class Delivery:
    """Carries payloads to the app, each in a task of its own; `stop` ends them all."""

    def __init__(
        self,
        *,
        signing_secret: str,
        sockets: Sockets,
        faults: Faults,
        clock: Clock,
        ack_within: float = ACK_WITHIN,
    ) -> None:
        self._secret = signing_secret.encode()
        self._sockets = sockets
        self._faults = faults
        self._clock = clock
        self._ack_within = ack_within
        self._tasks: set[asyncio.Task[None]] = set()
        self._order: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._session: aiohttp.ClientSession | None = None
        self.url: str | None = None
        self.given_up = 0

    async def start(self) -> None:
        """Make ready to deliver."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._ack_within), trust_env=False
        )

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    def send(self, kind: Kind, payloads: list[Json], place: str, *, by_person: bool = True) -> None:
        """Set payloads of one act on their way. Ordered faults strike what a person does, not the app's own echo."""
        copies = self._faults.copies() if by_person else 1
        delay = self._faults.strikes("delay") if by_person else None
        for payload in payloads:
            if len(self._tasks) >= MOST_UNDER_WAY:
                self.given_up += 1
                continue
            parcel = Parcel(kind, payload, place)
            work = (
                self._flood(parcel, copies)
                if copies > 1
                else self._carry(parcel, delay.seconds if delay else 0.0)
            )
            task = asyncio.create_task(work, name=f"deliver {kind} {place}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def submit(self, kind: Kind, payload: Json) -> Json:
        """Deliver once and give the app's answer. Raises NotTakenError: an interaction is not tried again."""
        return await self._attempt(Parcel(kind, payload, ""), 0, "")

    async def _carry(self, parcel: Parcel, delay: float) -> None:
        """Deliver on Slack's schedule; an interaction has only its first attempt."""
        await asyncio.sleep(delay)
        reason = ""
        async with self._order[parcel.place]:
            reason = await self._try(parcel, 0, reason)
        waits = RETRIES if parcel.kind == "events_api" else ()
        for number, wait in enumerate(waits, start=1):
            if not reason:
                return
            await self._clock.sleep(wait)
            reason = await self._try(parcel, number, reason)
        self.given_up += bool(reason)

    async def _try(self, parcel: Parcel, number: int, reason: str) -> str:
        try:
            await self._attempt(parcel, number, reason)
        except NotTakenError as e:
            return str(e)
        return "http_timeout" if self._faults.strikes("drop_ack") else ""

    async def _attempt(self, parcel: Parcel, number: int, reason: str) -> Json:
        connection = self._sockets.pick()
        if self._faults.strikes("disconnect"):
            await self._break(parcel, number, reason, connection)
            raise NotTakenError("connection_failed")
        if connection:
            return await self._by_socket(connection, parcel, number, reason)
        return await self._by_http(parcel, number, reason)

    async def _flood(self, parcel: Parcel, copies: int) -> None:
        """The same payload many times at once, over every transport in turn."""
        ways: list[Connection | None] = [
            *self._sockets.open,
            *([None] if self.url or not self._sockets.open else []),
        ]
        attempts = (
            self._over(ways[number % len(ways)], parcel, number, "http_timeout" if number else "")
            for number in range(max(copies, len(ways)))
        )
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        if all(isinstance(answer, NotTakenError) for answer in answers):
            await self._carry(parcel, 0.0)

    async def _over(self, way: Connection | None, parcel: Parcel, number: int, reason: str) -> Json:
        if way:
            return await self._by_socket(way, parcel, number, reason)
        return await self._by_http(parcel, number, reason)

    async def _by_socket(self, connection: Connection, parcel: Parcel, number: int, reason: str) -> Json:
        try:
            return await connection.deliver(_envelope(parcel, number, reason), self._ack_within)
        except TimeoutError as e:
            raise NotTakenError("timeout") from e
        except ConnectionError as e:
            raise NotTakenError("connection_failed") from e

    async def _by_http(self, parcel: Parcel, number: int, reason: str) -> Json:
        if self.url is None or self._session is None:
            raise NotTakenError("connection_failed")
        path, content_type, body = _letter(parcel)
        headers = self._signed(body, content_type) | _retry_headers(number, reason)
        try:
            async with self._session.post(
                f"{self.url}{path}", data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.content.read(MOST_ANSWER)
                if response.status != 200:
                    raise NotTakenError("http_error")
                return _answered(answer)
        except TimeoutError as e:
            raise NotTakenError("http_timeout") from e
        except aiohttp.ClientError as e:
            raise NotTakenError("connection_failed") from e

    async def _break(self, parcel: Parcel, number: int, reason: str, connection: Connection | None) -> None:
        """Send, and lose the connection before it is acknowledged: the socket after the envelope, HTTP half-way."""
        if connection:
            with contextlib.suppress(ConnectionError):
                await connection.send(_envelope(parcel, number, reason))
            await connection.disconnect("refresh_requested")
        elif self.url:
            await self._half_a_request(parcel)

    async def _half_a_request(self, parcel: Parcel) -> None:
        address = urlsplit(self.url or "")
        path, content_type, body = _letter(parcel)
        lines = {"Host": address.netloc, "Content-Length": str(len(body)), **self._signed(body, content_type)}
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(address.hostname, address.port or 80)
            writer.write(head.encode() + b"\r\n" + body[: len(body) // 2])
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _signed(self, body: bytes, content_type: str) -> dict[str, str]:
        timestamp = str(int(self._clock.now()))
        digest = hmac.new(self._secret, f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
        return {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={digest}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }


def _letter(parcel: Parcel) -> tuple[str, str, bytes]:
    """Path, media type and body for HTTP."""
    text = dumps(parcel.payload)
    if parcel.kind == "events_api":
        return "/slack/events", "application/json", text.encode()
    return "/slack/interactive", "application/x-www-form-urlencoded", urlencode({"payload": text}).encode()


def _envelope(parcel: Parcel, number: int, reason: str) -> Json:
    return {
        "envelope_id": secrets.token_hex(16),
        "type": parcel.kind,
        "payload": parcel.payload,
        "accepts_response_payload": parcel.kind != "events_api",
        "retry_attempt": number,
        "retry_reason": reason,
    }


def _retry_headers(number: int, reason: str) -> dict[str, str]:
    return {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason} if number else {}


def _answered(body: bytes) -> Json:
    """What the app answered beside its 200: an object, or nothing."""
    with contextlib.suppress(msgspec.DecodeError):
        decoded = msgspec.json.decode(body or b"{}")
        if isinstance(decoded, dict):
            return decoded
    return {}
