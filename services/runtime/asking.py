"""Asking over the bus, again until the deadline: services, JetStream's API, and streams for what they keep."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from schemas.base import HEADER_SCHEMA, Message
from services.runtime.errors import Closed, TooLarge, Unavailable
from services.runtime.tasks import heeded
from services.runtime.traceparent import inject

log = structlog.get_logger(__name__)

ATTEMPT_SECONDS = 1.0
DEFAULT_DEADLINE = 10.0
# Leader and followers are milliseconds apart; whichever is behind for longer than this is not waited for.
CAUGHT_UP_SECONDS = 1.0
LAG_SECONDS = 0.02
# The server's words: there is no such message, which is not a stream that is missing; nobody leads now.
NO_MESSAGE, LEADERLESS = 10037, 503
# Before asking again where the connection is away.
AGAIN_SECONDS = 0.05


class Stored(msgspec.Struct, frozen=True):
    """A message as the stream keeps it."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]
    stored_at: datetime


class Asking:
    """One connection's way to ask.

    Everything raises `Unavailable` when there is no answer by its deadline, `Closed` once there can be none any more, and
    `TooLarge` for what no later try can send.
    """

    def __init__(self, client: Client, *, direct: bool = False) -> None:
        """With `direct`, ask for single messages by their subject, which any replica answers and rights can tell apart."""
        self.client = client
        self.direct = direct
        self._origin = secrets.token_hex(6)

    def new_id(self) -> str:
        """Return an id that nobody else uses, nor can guess: a stream takes no message under an id that it has seen.

        Its first 12 characters tell the connection.
        """
        return self._origin + secrets.token_hex(8)

    async def api(self, subject: str, request: Any, *, deadline: float = DEFAULT_DEADLINE) -> dict[str, Any]:
        """Ask JetStream's API, `subject` without its prefix. The answer may hold an `error`."""
        payload = b"" if request is None else msgspec.json.encode(request)
        until = time.monotonic() + deadline
        while True:
            reply = await self.ask(f"$JS.API.{subject}", payload, None, until)
            if reply is not None:
                answer: dict[str, Any] = msgspec.json.decode(reply.data)
                return answer
            if time.monotonic() >= until:
                raise Unavailable(f"JetStream did not answer {subject}")

    async def request(self, subject: str, message: Message, *, deadline: float = DEFAULT_DEADLINE) -> bytes:
        """Ask a service and return its answer's payload, trying again while nobody answers. Raises `Unavailable`."""
        headers: dict[str, str] = {HEADER_SCHEMA: message.schema()}
        inject(headers)
        until = time.monotonic() + deadline
        while True:
            reply = await self.ask(subject, message.encode(), headers, until, attempt=deadline)
            if reply is not None:
                return reply.data
            if time.monotonic() >= until:
                raise Unavailable(f"nobody answered {subject} within {deadline:g} s")

    async def last(
        self, stream: str, subject: str, *, deadline: float = DEFAULT_DEADLINE, at_least: int = 0
    ) -> Stored | None:
        """Return the last message of `subject` as the stream's leader knows it, None when there is none.

        A `direct` one comes from a replica, which is given a moment to know what the leader told as `at_least`; one that
        does not is as good as no answer.
        """
        if not self.direct:
            return await self._get(stream, {"last_by_subj": subject}, deadline)
        until = time.monotonic() + deadline
        patience = min(until, time.monotonic() + CAUGHT_UP_SECONDS)
        while True:
            found = await self._directly(stream, subject, until)
            if (found.sequence if found else 0) >= at_least:
                return found
            if time.monotonic() >= patience:
                raise Unavailable(f"{stream}: the replica that answers lags behind")
            await asyncio.sleep(LAG_SECONDS)

    async def at(self, stream: str, sequence: int, *, deadline: float = DEFAULT_DEADLINE) -> Stored | None:
        """Return the message at `sequence`, None when it is gone."""
        return await self._get(stream, {"seq": sequence}, deadline)

    async def has(self, stream: str, sequence: int) -> bool:
        """Tell whether the stream's leader has, or had, all up to `sequence`. Raises `Unavailable`."""
        answer = await self.api(f"STREAM.INFO.{stream}", None)
        if "error" in answer:
            raise Unavailable(f"{stream}: {answer['error'].get('description')}")
        return int(answer["state"]["last_seq"]) >= sequence

    async def reached(self, stream: str, sequence: int) -> None:
        """Return when the stream's leader has `sequence`: what a follower hands out, it may have a moment later.

        Raises `Unavailable` when it takes long.
        """
        patience = time.monotonic() + CAUGHT_UP_SECONDS
        while not await self.has(stream, sequence):
            if time.monotonic() >= patience:
                raise Unavailable(f"the leader of {stream} does not have {sequence} yet")
            await asyncio.sleep(LAG_SECONDS)

    async def following(
        self, stream: str, subject: str, sequence: int, *, deadline: float = DEFAULT_DEADLINE
    ) -> Stored | None:
        """Return the first message after `sequence` whose subject matches `subject`, None when there is none."""
        return await self._get(stream, {"seq": sequence + 1, "next_by_subj": subject}, deadline)

    async def ask(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str] | None,
        until: float,
        attempt: float = ATTEMPT_SECONDS,
    ) -> Msg | None:
        """Ask once, for `attempt` seconds at most; None without an answer. Raises `TooLarge`."""
        self.measure(subject, payload, headers)
        left = until - time.monotonic()
        if left <= 0:
            return None
        try:
            return await self._request(subject, payload, headers, min(attempt, left))
        except (NatsError, TimeoutError, ConnectionError):
            await self._pause(min(AGAIN_SECONDS, max(0.0, until - time.monotonic())))
            return None

    async def send(self, subject: str, payload: bytes, headers: dict[str, str]) -> bool:
        """Publish what was measured, without an answer; False, after a moment, where the connection takes nothing now."""
        try:
            await self.client.publish(subject, payload, headers=headers)
        except (NatsError, ConnectionError):
            await self._pause(AGAIN_SECONDS)
            return False
        return True

    def measure(self, subject: str, payload: bytes, headers: Mapping[str, str] | None) -> None:
        """Raise `TooLarge` where the broker takes no such message: sent to it, it would end the connection."""
        most = self.client.max_payload
        if len(payload) + _size_at_most(headers or {}) <= most:
            return
        size = len(payload) + _size(headers or {})
        if size > most:
            raise TooLarge(f"{subject}: {size:,} bytes are more than the {most:,} that the broker takes")

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.client.is_closed:
            raise Closed("the connection is closed for good")

    async def _request(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout: float
    ) -> Msg:
        return await heeded(self.client.request(subject, payload, timeout=timeout, headers=headers))

    async def _directly(self, stream: str, subject: str, until: float) -> Stored | None:
        while True:
            reply = await self.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", None, until)
            headers = (reply.headers or {}) if reply else {}
            if reply and "Nats-Sequence" in headers:
                stored_at = msgspec.convert(headers["Nats-Time-Stamp"], datetime)
                return Stored(subject, int(headers["Nats-Sequence"]), reply.data, headers, stored_at)
            if headers.get("Status") == "404":
                return None
            if time.monotonic() >= until:
                raise Unavailable(f"{stream} did not answer for {subject}")
            if reply:
                await asyncio.sleep(LAG_SECONDS)

    async def _get(self, stream: str, request: dict[str, Any], deadline: float) -> Stored | None:
        until = time.monotonic() + deadline
        while True:
            left = max(0.0, until - time.monotonic())
            answer = await self.api(f"STREAM.MSG.GET.{stream}", request, deadline=left)
            error = answer.get("error", {})
            if not error:
                return _stored(answer["message"])
            if error.get("err_code") == NO_MESSAGE:
                return None
            # A replica that knows of no leader may answer before the leader does.
            if error.get("code") != LEADERLESS or time.monotonic() >= until:
                raise Unavailable(f"{stream}: {error.get('description')}")
            await asyncio.sleep(LAG_SECONDS)


async def reply(asked: Msg, answer: Message) -> None:
    """Answer `asked`; an answer that cannot be sent is told in the log, and left to the asker's next try."""
    if not asked.reply:
        return
    try:
        await asked.respond(answer.encode())
    except NatsError as e:
        log.warning("an answer could not be sent", subject=asked.subject, error=str(e) or type(e).__name__)


def _size(headers: Mapping[str, str]) -> int:
    """Return the bytes of `headers` in NATS's own wire form, which count as the message's."""
    lines = sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
    return len(b"NATS/1.0\r\n\r\n") + lines if headers else 0


def _size_at_most(headers: Mapping[str, str]) -> int:
    """Return what they are at most, where each character is as long as one can be in UTF-8: nothing has to be encoded."""
    characters = len("NATS/1.0\r\n\r\n") + len(": \r\n") * len(headers)
    return 4 * (characters + sum(map(len, headers)) + sum(map(len, headers.values())))


def _stored(raw: dict[str, Any]) -> Stored:
    message = msgspec.convert(raw, type=_RawMessage)
    return Stored(message.subject, message.seq, message.data, parse_headers(message.hdrs), message.time)


class _RawMessage(msgspec.Struct):
    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""


def parse_headers(raw: bytes) -> dict[str, str]:
    """Return the headers of NATS's own wire form, `NATS/1.0` line first."""
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
