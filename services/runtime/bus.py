"""Publishing: stored with an answer, fenced by expected sequences, in atomic batches, or live."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from schemas.base import CONTENT_TYPE, HEADER_ID, HEADER_SCHEMA, HEADER_SESSION, Message
from schemas.bus import stream_of
from services.runtime.errors import Conflict, StreamFull, Unavailable
from services.runtime.tracing import inject

EXPECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECT_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
TTL = "Nats-TTL"
BATCH_ID, BATCH_SEQUENCE, BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"

# The server's words (its errors.json): another write won; the stream is full. All others are worth another try.
WRONG_LAST_SEQUENCE = {10071, 10201}
FULL = {10077, 10047, 10023}

ATTEMPT_SECONDS = 1.0
DEFAULT_DEADLINE = 10.0


class Fence(msgspec.Struct, frozen=True):
    """The write holds only if `sequence` is the last of `subject` (None: the subject written to; 0: there is none)."""

    sequence: int
    subject: str | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A message about to be published. `id` makes a retry harmless; `ttl` in seconds."""

    subject: str
    message: Message
    session: str | None = None
    id: str | None = None
    fence: Fence | None = None
    ttl: int | None = None


class Stored(msgspec.Struct, frozen=True):
    """A message as the stream keeps it."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]


class _ServerError(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    error: _ServerError | None = None
    seq: int = 0
    duplicate: bool = False


class Bus:
    """One connection's way to publish and to ask."""

    def __init__(self, client: Client, *, replicas: int = 1) -> None:
        self.client = client
        self.replicas = replicas

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return bool(self.client.is_connected)

    def new_id(self) -> str:
        """Return an id that nobody else uses."""
        return self.client._nuid.next().decode()  # noqa: SLF001 (nats-py offers its generator nowhere else)

    def live(self, subject: str, message: Message) -> asyncio.Task[None]:
        """Publish without storage and without waiting."""
        return asyncio.ensure_future(self.client.publish(subject, message.encode()))

    async def publish(self, draft: Draft, *, deadline: float = DEFAULT_DEADLINE) -> int:
        """Store `draft` and return its sequence, trying again for `deadline` seconds.

        Raises `Conflict` when its fence does not hold, `StreamFull`, and `Unavailable` when the outcome is unknown.
        """
        draft_id = draft.id or self.new_id()
        return await self._store(
            draft.subject, draft.message.encode(), self._headers(draft, draft_id), deadline
        )

    async def publish_raw(
        self, subject: str, payload: bytes, headers: Mapping[str, str], fence: Fence | None = None
    ) -> int:
        """Store bytes that are no message of ours, such as a deletion or a replay. Raises as `publish` does."""
        whole = {HEADER_ID: self.new_id()} | dict(headers) | (_fence_headers(fence) if fence else {})
        return await self._store(subject, payload, whole, DEFAULT_DEADLINE)

    async def _store(self, subject: str, payload: bytes, headers: dict[str, str], deadline: float) -> int:
        until = time.monotonic() + deadline
        while True:
            ack = await self._attempt(subject, payload, headers, until)
            if ack and not ack.error:
                return ack.seq
            if ack and ack.error and ack.error.err_code in WRONG_LAST_SEQUENCE:
                return await self._ours_or_conflict(subject, headers[HEADER_ID], until)
            self._give_up_when_due(ack, subject, until)

    async def publish_batch(self, drafts: Sequence[Draft], *, deadline: float = DEFAULT_DEADLINE) -> int:
        """Store all of `drafts` or none; return the last one's sequence. Raises as `publish` does."""
        ids = [draft.id or self.new_id() for draft in drafts]
        until = time.monotonic() + deadline
        while True:
            ack = await self._attempt_batch(drafts, ids, until)
            if ack and not ack.error:
                return ack.seq
            if ack and ack.error and ack.error.err_code in WRONG_LAST_SEQUENCE:
                return await self._ours_or_conflict(drafts[-1].subject, ids[-1], until)
            self._give_up_when_due(ack, drafts[-1].subject, until)

    async def last(self, stream: str, subject: str, *, deadline: float = DEFAULT_DEADLINE) -> Stored | None:
        """Return the last message of `subject` as the stream's leader knows it, None when there is none."""
        return await self._get(stream, {"last_by_subj": subject}, deadline)

    async def at(self, stream: str, sequence: int, *, deadline: float = DEFAULT_DEADLINE) -> Stored | None:
        """Return the message at `sequence`, None when it is gone."""
        return await self._get(stream, {"seq": sequence}, deadline)

    async def following(
        self, stream: str, subject: str, sequence: int, *, deadline: float = DEFAULT_DEADLINE
    ) -> Stored | None:
        """Return the first message after `sequence` whose subject matches `subject`, None when there is none."""
        return await self._get(stream, {"seq": sequence + 1, "next_by_subj": subject}, deadline)

    async def api(self, subject: str, request: Any, *, deadline: float = DEFAULT_DEADLINE) -> dict[str, Any]:
        """Ask JetStream's API, `subject` without its prefix. The answer may hold an `error`."""
        payload = b"" if request is None else msgspec.json.encode(request)
        until = time.monotonic() + deadline
        while True:
            reply = await self._ask(f"$JS.API.{subject}", payload, None, until)
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
            reply = await self._ask(subject, message.encode(), headers, until, attempt=deadline)
            if reply is not None:
                return reply.data
            if time.monotonic() >= until:
                raise Unavailable(f"nobody answered {subject} within {deadline:g} s")

    def _headers(self, draft: Draft, draft_id: str) -> dict[str, str]:
        headers = {
            HEADER_ID: draft_id,
            HEADER_SCHEMA: draft.message.schema(),
            "Content-Type": CONTENT_TYPE,
        }
        if draft.session:
            headers[HEADER_SESSION] = draft.session
        if draft.ttl:
            headers[TTL] = f"{draft.ttl}s"
        if draft.fence:
            headers |= _fence_headers(draft.fence)
        inject(headers)
        return headers

    async def _attempt(
        self, subject: str, payload: bytes, headers: dict[str, str], until: float
    ) -> _Ack | None:
        reply = await self._ask(subject, payload, headers, until)
        return msgspec.json.decode(reply.data, type=_Ack) if reply else None

    async def _attempt_batch(self, drafts: Sequence[Draft], ids: Sequence[str], until: float) -> _Ack | None:
        batch = self.new_id()
        for place, (draft, draft_id) in enumerate(zip(drafts, ids, strict=True), start=1):
            headers = self._headers(draft, draft_id) | {BATCH_ID: batch, BATCH_SEQUENCE: str(place)}
            if place < len(drafts):
                await self.client.publish(draft.subject, draft.message.encode(), headers=headers)
                continue
            return await self._attempt(
                draft.subject, draft.message.encode(), headers | {BATCH_COMMIT: "1"}, until
            )
        return None

    async def _ask(
        self,
        subject: str,
        payload: bytes,
        headers: dict[str, str] | None,
        until: float,
        attempt: float = ATTEMPT_SECONDS,
    ) -> Msg | None:
        left = until - time.monotonic()
        if left <= 0:
            return None
        try:
            return await self._request(subject, payload, headers, min(attempt, left))
        except (NatsError, TimeoutError, ConnectionError):
            await asyncio.sleep(min(0.05, max(0.0, until - time.monotonic())))
            return None

    async def _request(
        self, subject: str, payload: bytes, headers: dict[str, str] | None, timeout: float
    ) -> Msg:
        # The client waits by Python 3.11's `wait_for`, which loses a cancellation that meets the answer.
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        reply = await self.client.request(subject, payload, timeout=timeout, headers=headers)
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
        return reply

    async def _ours_or_conflict(self, subject: str, draft_id: str, until: float) -> int:
        # A retry of our own write is refused as well where the first one was stored: its id tells.
        stream = stream_of(subject)
        last = await self.last(stream, subject, deadline=max(ATTEMPT_SECONDS, until - time.monotonic()))
        if last and last.headers.get(HEADER_ID) == draft_id:
            return last.sequence
        raise Conflict(f"another write to {subject} came first")

    @staticmethod
    def _give_up_when_due(ack: _Ack | None, subject: str, until: float) -> None:
        if ack and ack.error and ack.error.err_code in FULL:
            raise StreamFull(f"{subject}: {ack.error.description}")
        if time.monotonic() >= until:
            word = ack.error.description if ack and ack.error else "no answer"
            raise Unavailable(f"{subject} could not be stored: {word}")

    async def _get(self, stream: str, request: dict[str, Any], deadline: float) -> Stored | None:
        answer = await self.api(f"STREAM.MSG.GET.{stream}", request, deadline=deadline)
        if "error" in answer:
            if answer["error"].get("code") == 404:
                return None
            raise Unavailable(f"{stream}: {answer['error'].get('description')}")
        return _stored(answer["message"])


def _fence_headers(fence: Fence) -> dict[str, str]:
    headers = {EXPECT_SEQUENCE: str(fence.sequence)}
    return headers | {EXPECT_SUBJECT: fence.subject} if fence.subject else headers


def _stored(raw: dict[str, Any]) -> Stored:
    message = msgspec.convert(raw, type=_RawMessage)
    return Stored(message.subject, message.seq, message.data, parse_headers(message.hdrs))


class _RawMessage(msgspec.Struct):
    subject: str
    seq: int
    data: bytes = b""
    hdrs: bytes = b""


def parse_headers(raw: bytes) -> dict[str, str]:
    """Return the headers of NATS's own wire form, `NATS/1.0` line first."""
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
