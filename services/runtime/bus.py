"""Publishing: stored with an answer, fenced by expected sequences, in atomic batches, or live."""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping, Sequence

import msgspec
from nats.aio.client import Client

from schemas.base import CONTENT_TYPE, HEADER_ID, HEADER_SCHEMA, HEADER_SESSION, Message
from schemas.bus import stream_of
from services.runtime.asking import ATTEMPT_SECONDS, CAUGHT_UP_SECONDS, DEFAULT_DEADLINE, LAG_SECONDS, Asking
from services.runtime.errors import Conflict, StreamFull, Unavailable
from services.runtime.readers import OwnReaders, Readers
from services.runtime.tasks import unattended
from services.runtime.traceparent import inject

EXPECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECT_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
TTL = "Nats-TTL"
BATCH_ID, BATCH_SEQUENCE, BATCH_COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"

# The server's words (its errors.json): another write won, or this very batch; the stream is full. Others are worth another try.
WRONG_LAST_SEQUENCE, DUPLICATE_IN_BATCH = 10071, 10201
REFUSED = {WRONG_LAST_SEQUENCE, DUPLICATE_IN_BATCH}
FULL = {10077, 10047, 10023}


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


# Subjects, and what the sequence of the last message of each has to be.
Fences = Sequence[tuple[str, int]]


class _ServerError(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    error: _ServerError | None = None
    seq: int = 0
    duplicate: bool = False


_ACK = msgspec.json.Decoder(_Ack)


class Bus(Asking):
    """One connection's way to publish, and to ask; `readers` makes the consumers by which it reads streams."""

    def __init__(self, client: Client, *, replicas: int = 1, direct: bool = False) -> None:
        super().__init__(client, direct=direct)
        self.replicas = replicas
        self.readers: Readers = OwnReaders(self)

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return bool(self.client.is_connected)

    def live(self, subject: str, message: Message) -> asyncio.Task[None]:
        """Publish without storage and without waiting; what is lost is no news to who does not wait."""
        return unattended(asyncio.create_task(self.client.publish(subject, message.encode())))

    async def publish(self, draft: Draft, *, deadline: float = DEFAULT_DEADLINE) -> int:
        """Store `draft` and return its sequence, trying again for `deadline` seconds.

        Raises `Conflict` when its fence does not hold, `StreamFull`, `TooLarge`, and `Unavailable` when the outcome is unknown.
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
            if ack and ack.error and ack.error.err_code in REFUSED:
                told = 0 if EXPECT_SUBJECT in headers else _told(ack.error)
                fences = _fences_in(subject, headers)
                if stored := await self._ours_or_conflict(subject, headers[HEADER_ID], told, until, fences):
                    return stored
            await self._again_unless_due(ack, subject, until)

    async def publish_batch(self, drafts: Sequence[Draft], *, deadline: float = DEFAULT_DEADLINE) -> int:
        """Store all of `drafts`, which are nobody else's, or none; return the last one's sequence. Raises as `publish`."""
        ids = [draft.id or self.new_id() for draft in drafts]
        until = time.monotonic() + deadline
        while True:
            ack = await self._attempt_batch(drafts, ids, until)
            if ack and not ack.error and await self._is_kept(drafts[-1].subject, ids[-1], until):
                return ack.seq
            if ack and ack.error and ack.error.err_code in REFUSED:
                told, fences = _told_of_batch(ack.error, drafts), _fences_of(drafts)
                subject = drafts[-1].subject
                if stored := await self._ours_or_conflict(subject, ids[-1], told, until, fences):
                    return stored
            await self._again_unless_due(ack, drafts[-1].subject, until)

    async def publish_together(self, drafts: Sequence[Draft], *, deadline: float) -> None:
        """Store all of `drafts`, which have nothing to do with each other, or none; tried once, for `deadline` seconds.

        Raises `Conflict` also where one of them is there already, `StreamFull`, `TooLarge` and `Unavailable`.
        """
        until = time.monotonic() + deadline
        ids = [draft.id or self.new_id() for draft in drafts]
        ack = await self._attempt_batch(drafts, ids, until)
        if ack and not ack.error and await self._is_kept(drafts[-1].subject, ids[-1], until):
            return
        if ack and ack.error and ack.error.err_code in REFUSED:
            raise Conflict(f"one of {len(drafts)} is refused")
        if ack and ack.error and ack.error.err_code in FULL:
            raise StreamFull(ack.error.description)
        raise Unavailable(f"{len(drafts)} could not be stored together")

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
        reply = await self.ask(subject, payload, headers, until)
        return _ACK.decode(reply.data) if reply else None

    async def _attempt_batch(self, drafts: Sequence[Draft], ids: Sequence[str], until: float) -> _Ack | None:
        *first, last = self._parts(drafts, ids)
        for part in (*first, last):
            self.measure(*part)  # one that is refused on its way leaves the others on the stream, unfinished
        for part in first:
            if not await self.send(*part):
                return None
        return await self._attempt(*last, until)

    async def _is_kept(self, subject: str, draft_id: str, until: float) -> bool:
        """Whether a batch that was acknowledged is there, up to its last message `draft_id`.

        A server by itself syncs a batch at its end, and acknowledges it all the same where it closes the stream meanwhile
        (nats-server 2.15.1). One that answers for the stream after that had not begun to close it; one that was started again
        knows what it wrote.
        """
        if self.replicas > 1:
            return True
        with contextlib.suppress(Unavailable):  # then it is sent again, under the same ids
            last = await self.last(stream_of(subject), subject, deadline=until - time.monotonic())
            return last is not None and last.headers.get(HEADER_ID) == draft_id
        return False

    def _parts(self, drafts: Sequence[Draft], ids: Sequence[str]) -> list[tuple[str, bytes, dict[str, str]]]:
        batch = self.new_id()
        parts = []
        for place, (draft, draft_id) in enumerate(zip(drafts, ids, strict=True), start=1):
            headers = self._headers(draft, draft_id) | {BATCH_ID: batch, BATCH_SEQUENCE: str(place)}
            if place == len(drafts):
                headers[BATCH_COMMIT] = "1"
            parts.append((draft.subject, draft.message.encode(), headers))
        return parts

    async def _ours_or_conflict(
        self, subject: str, draft_id: str, told: int, until: float, fences: Fences
    ) -> int:
        """Return where our write was stored; 0 where all its `fences` hold, so that it is to be tried again.

        A retry is refused as well where the first one was stored: its id tells. So is what follows a message on a server that
        closes the stream: it can look up the last sequence no more.
        """
        deadline = max(ATTEMPT_SECONDS, until - time.monotonic())
        patience = time.monotonic() + (CAUGHT_UP_SECONDS if self.direct else 0)
        while True:
            last = await self.last(stream_of(subject), subject, deadline=deadline, at_least=told)
            if last and last.headers.get(HEADER_ID) == draft_id:
                return last.sequence
            if not told and await self._hold(fences, deadline):
                return 0
            # Where the server did not tell the last sequence, a replica may not have got so far yet.
            if told or time.monotonic() >= patience:
                raise Conflict(f"another write to {subject} came first", told)
            await asyncio.sleep(LAG_SECONDS)

    async def _hold(self, fences: Fences, deadline: float) -> bool:
        for subject, sequence in fences:
            last = await self.last(stream_of(subject), subject, deadline=deadline)
            if (last.sequence if last else 0) != sequence:
                return False
        return bool(fences)

    @staticmethod
    async def _again_unless_due(ack: _Ack | None, subject: str, until: float) -> None:
        if ack and ack.error and ack.error.err_code in FULL:
            raise StreamFull(f"{subject}: {ack.error.description}")
        if time.monotonic() >= until:
            word = ack.error.description if ack and ack.error else "no answer"
            raise Unavailable(f"{subject} could not be stored: {word}")
        if ack:  # a refusal comes at once, and would again
            await asyncio.sleep(LAG_SECONDS)


def _fences_in(subject: str, headers: Mapping[str, str]) -> Fences:
    expected = headers.get(EXPECT_SEQUENCE)
    return [] if expected is None else [(headers.get(EXPECT_SUBJECT, subject), int(expected))]


def _fences_of(drafts: Sequence[Draft]) -> Fences:
    return [(each.fence.subject or each.subject, each.fence.sequence) for each in drafts if each.fence]


def _told(error: _ServerError) -> int:
    """Return the last sequence that a refusal names, 0 where it names none."""
    found = re.search(r"last sequence: (\d+)", error.description)
    return int(found[1]) if found else 0


def _told_of_batch(error: _ServerError, drafts: Sequence[Draft]) -> int:
    """Return what the last sequence of the last draft's subject is at least, 0 where the refusal does not tell."""
    subject = drafts[-1].subject
    if error.err_code == DUPLICATE_IN_BATCH:  # they are stored, after what they were to follow
        fences = (draft.fence for draft in drafts if draft.subject == subject)
        return max((fence.sequence + 1 for fence in fences if fence and not fence.subject), default=0)
    return _told(error) if all(draft.subject == subject for draft in drafts) else 0


def _fence_headers(fence: Fence) -> dict[str, str]:
    headers = {EXPECT_SEQUENCE: str(fence.sequence)}
    return headers | {EXPECT_SUBJECT: fence.subject} if fence.subject else headers
