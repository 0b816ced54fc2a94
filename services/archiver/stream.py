"""SESSIONS as the archiver sees it: a session's records in order, where things stand, and purging."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.bus import ARCHIVER, CONSUMERS, SESSIONS
from schemas.keys import SessionKey
from services.archiver.records import Record
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.follow import Follow
from services.runtime.pull import Delivery

# Messages on their way at once: some are megabytes.
_BATCH = 32
_PATIENCE = 10.0  # seconds without a message, though more are there: the broker is away, or they were purged
_EXACT = timedelta(milliseconds=1)  # how a record's time is rounded


class State(msgspec.Struct, frozen=True):
    """The stream's sequences: its first and last, and how many messages it holds."""

    messages: int
    first_seq: int
    last_seq: int


class SessionsStream:
    """The one stream of all sessions. Every call raises `Unavailable` (the bus's)."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def records(self, key: SessionKey, after: int) -> AsyncGenerator[Record, None]:
        """Yield what the stream holds now of a session after sequence `after`, in order and without a gap."""
        follow = Follow(self._bus, SESSIONS.name, [_all(key)], after=after, batch=_BATCH)
        async with contextlib.aclosing(follow.deliveries()) as deliveries:
            while (delivery := await _within(_PATIENCE, anext(deliveries))) is not None:
                yield Record(
                    seq=delivery.sequence,
                    subject=delivery.subject,
                    time=datetime.fromtimestamp(delivery.timestamp, UTC),
                    headers=dict(delivery.headers),
                    payload=delivery.data,
                )

    async def reached(self, sequence: int) -> None:
        """Return when the stream's leader has `sequence`, which was heard of."""
        await self._bus.reached(SESSIONS.name, sequence)

    async def holds_after(self, key: SessionKey, sequence: int) -> bool:
        """Whether the stream's leader knows something of a session after `sequence`."""
        return await self._bus.following(SESSIONS.name, _all(key), sequence) is not None

    async def first(self, subject: str, at_least: int = 0) -> tuple[int, datetime] | None:
        """Return sequence and time of the first message of `subject` from sequence `at_least` on."""
        found = await self._bus.following(SESSIONS.name, subject, max(1, at_least) - 1)
        return (found.sequence, found.stored_at) if found else None

    async def stored_after(self, key: SessionKey, time: datetime, through: int) -> int | None:
        """Return a session's first sequence that was stored after `time`, None where there is none up to `through`."""
        later = time + _EXACT
        at = await self._bus.at(SESSIONS.name, through)
        if at and at.stored_at < later:
            return None
        found = await self.first(_all(key), await self.first_since(later))
        return found[0] if found and found[0] <= through else None

    async def first_since(self, time: datetime) -> int:
        """Return the first sequence that was stored at `time` or later; the next one where there is none."""
        state = await self.state()
        low, high = state.first_seq, state.last_seq + 1
        while low < high:
            middle = (low + high) // 2
            found = await self.first("session.>", middle)
            if found is None or found[1] >= time:
                high = middle
            else:
                low = found[0] + 1
        return low

    async def state(self) -> State:
        """Return where the stream stands."""
        answer = _checked(await self._bus.api(f"STREAM.INFO.{SESSIONS.name}", None))
        return msgspec.convert(answer["state"], State)

    async def count(self, key: SessionKey) -> int:
        """Return how many messages of a session the stream holds."""
        return sum((await self._subjects(_all(key))).values())

    async def last(self, key: SessionKey) -> int:
        """Return the last sequence of a session, 0 when the stream holds none."""
        last = await self._bus.last(SESSIONS.name, _all(key))
        return last.sequence if last else 0

    async def sessions(self) -> set[str]:
        """Return the keys of the sessions that the stream holds something of."""
        return {".".join(subject.split(".")[1:4]) for subject in await self._subjects("session.>")}

    async def purge(self, key: SessionKey, before: int) -> int:
        """Remove a session's messages before sequence `before`; return how many went."""
        request = {"filter": _all(key), "seq": before}
        return int(_checked(await self._bus.api(f"STREAM.PURGE.{SESSIONS.name}", request))["purged"])

    async def skip_to(self, sequence: int) -> None:
        """Make `sequence` the next one of an empty stream; whatever it held would be lost."""
        _checked(await self._bus.api(f"STREAM.PURGE.{SESSIONS.name}", {"seq": sequence}))

    async def floors(self) -> list[int]:
        """Return, for each durable consumer of the stream but ours, the sequence up to which it is done.

        What we are done with, the store tells for each session; one that cannot be archived keeps our own floor down.
        """
        others = [consumer for consumer in CONSUMERS if consumer != ARCHIVER]
        names = [consumer.name for consumer in others if consumer.stream == SESSIONS.name]
        answers = [
            _checked(await self._bus.api(f"CONSUMER.INFO.{SESSIONS.name}.{name}", None)) for name in names
        ]
        return [_floor(answer) for answer in answers]

    async def _subjects(self, pattern: str) -> dict[str, int]:
        found: dict[str, int] = {}
        while True:
            request = {"subjects_filter": pattern, "offset": len(found)}
            answer = _checked(await self._bus.api(f"STREAM.INFO.{SESSIONS.name}", request))
            page: dict[str, int] = answer["state"].get("subjects") or {}
            found |= page
            if not page or len(found) >= answer.get("total", 0):
                return found


async def _within(seconds: float, delivery: Awaitable[Delivery | None]) -> Delivery | None:
    try:
        async with asyncio.timeout(seconds):
            return await delivery
    except TimeoutError as e:
        raise Unavailable(f"{SESSIONS.name} does not go on; it will be read again") from e


def _floor(info: dict[str, Any]) -> int:
    # Nothing delivered and nothing waiting: the consumer is done with everything, whatever its floor says.
    if not info["num_pending"] and not info["num_ack_pending"]:
        return 2**63
    return int(info["ack_floor"]["stream_seq"])


def _all(key: SessionKey) -> str:
    return f"session.{key}.>"


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise Unavailable(f"{SESSIONS.name}: {answer['error'].get('description')}")
    return answer
