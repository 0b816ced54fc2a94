"""Key-value buckets with typed values and compare-and-set, on the same publish as everything else."""

import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec
import structlog

from schemas.base import MalformedMessage, Message
from services.runtime.asking import Stored
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.counting import count_unreadable
from services.runtime.errors import Conflict
from services.runtime.follow import Follow
from services.runtime.pull import Delivery

log = structlog.get_logger(__name__)

OPERATION = "KV-Operation"
# The server's own marker on a message that a TTL removed.
REMOVED = {"DEL", "PURGE"}

M = TypeVar("M", bound=Message)


class Entry(msgspec.Struct, Generic[M], frozen=True):
    """A key's state: `value` is None where it is absent, deleted or unreadable; the next write expects `revision`.

    `stored_at` is known where the bucket was watched.
    """

    key: str
    value: M | None
    revision: int
    stored_at: datetime | None = None


class Bucket(Generic[M]):
    """One bucket whose values are `kind`."""

    def __init__(self, bus: Bus, name: str, kind: type[M]) -> None:
        self._bus = bus
        self._name = name
        self._kind = kind
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    async def get(self, key: str, at_least: int = 0) -> Entry[M]:
        """Return the entry of `key` as the leader knows it, or has told it by `at_least`. Raises `Unavailable`."""
        last = await self._bus.last(self._stream, self._prefix + key, at_least=at_least)
        if last is None:
            return Entry(key, None, 0)
        return Entry(key, self._value(key, last), last.sequence)

    async def put(self, key: str, value: M, revision: int, *, deadline: float = 10.0) -> int:
        """Write `value` where `revision` is still the last (0: the key was never there). Raises `Conflict`."""
        draft = Draft(subject=self._prefix + key, message=value, fence=Fence(revision))
        return await self._bus.publish(draft, deadline=deadline)

    async def create(self, key: str, value: M) -> int:
        """Write `value` where there is none; return its revision. Raises `Conflict` when there is one."""
        try:
            return await self.put(key, value, 0)
        except Conflict as e:
            entry = await self.get(key, e.last)
            if entry.value is not None:
                raise
            return await self.put(key, value, entry.revision)

    async def delete(self, key: str, revision: int) -> None:
        """Delete `key` where `revision` is still the last. Raises `Conflict`."""
        await self._bus.publish_raw(self._prefix + key, b"", {OPERATION: "DEL"}, Fence(revision))

    async def entries(self) -> list[Entry[M]]:
        """Return the entries that hold a value now."""
        found: dict[str, Entry[M]] = {}
        async with contextlib.aclosing(self.watch()) as watch:
            async for entry in watch:
                if entry is None:
                    break
                # A replica that catches up tells a key once more for each of its changes.
                found[entry.key] = entry
        return [entry for entry in found.values() if entry.value is not None]

    async def watch(self, keys: str = ">") -> AsyncGenerator[Entry[M] | None, None]:
        """Yield the entries there are, then None, then every change; None again whenever nothing is behind."""
        follow = Follow(self._bus, self._stream, [self._prefix + keys], start="last_per_subject")
        async with contextlib.aclosing(follow.deliveries()) as deliveries:
            async for delivery in deliveries:
                if delivery is None:
                    yield None
                    continue
                key = delivery.subject.removeprefix(self._prefix)
                stored_at = datetime.fromtimestamp(delivery.timestamp, UTC)
                yield Entry(key, self._value(key, delivery), delivery.sequence, stored_at)

    def _value(self, key: str, found: Stored | Delivery) -> M | None:
        if found.headers.get(OPERATION) in REMOVED or not found.data:
            return None
        try:
            return self._kind.decode(found.data)
        except MalformedMessage as e:
            # As if it were not there: whoever has something to say writes over it.
            count_unreadable(self._name)
            log.warning("an unreadable value counts as none", bucket=self._name, key=key, error=str(e))
            return None
