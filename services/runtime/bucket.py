"""Key-value buckets with typed values and compare-and-set, on the same publish as everything else."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

import msgspec

from schemas.base import Message
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict
from services.runtime.follow import Follow

OPERATION = "KV-Operation"
# The server's own marker on a message that a TTL removed.
REMOVED = {"DEL", "PURGE"}

M = TypeVar("M", bound=Message)


class Entry(msgspec.Struct, Generic[M], frozen=True):
    """A key's state: `value` is None where it is absent or deleted; `revision` is what the next write has to expect."""

    key: str
    value: M | None
    revision: int


class Bucket(Generic[M]):
    """One bucket whose values are `kind`."""

    def __init__(self, bus: Bus, name: str, kind: type[M]) -> None:
        self._bus = bus
        self._kind = kind
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    async def get(self, key: str) -> Entry[M]:
        """Return the entry of `key` as the leader knows it. Raises `Unavailable`."""
        last = await self._bus.last(self._stream, self._prefix + key)
        if last is None:
            return Entry(key, None, 0)
        if last.headers.get(OPERATION) in REMOVED or not last.data:
            return Entry(key, None, last.sequence)
        return Entry(key, self._kind.decode(last.data), last.sequence)

    async def put(self, key: str, value: M, revision: int, *, deadline: float = 10.0) -> int:
        """Write `value` where `revision` is still the last (0: the key was never there). Raises `Conflict`."""
        draft = Draft(subject=self._prefix + key, message=value, fence=Fence(revision))
        return await self._bus.publish(draft, deadline=deadline)

    async def create(self, key: str, value: M) -> int:
        """Write `value` where there is none; return its revision. Raises `Conflict` when there is one."""
        try:
            return await self.put(key, value, 0)
        except Conflict:
            entry = await self.get(key)
            if entry.value is not None:
                raise
            return await self.put(key, value, entry.revision)

    async def delete(self, key: str, revision: int) -> None:
        """Delete `key` where `revision` is still the last. Raises `Conflict`."""
        await self._bus.publish_raw(self._prefix + key, b"", {OPERATION: "DEL"}, Fence(revision))

    async def watch(self, keys: str = ">") -> AsyncGenerator[Entry[M] | None, None]:
        """Yield the entries there are, then None, then every change; None again whenever nothing is behind."""
        follow = Follow(self._bus, self._stream, [self._prefix + keys], start="last_per_subject")
        async with contextlib.aclosing(follow.deliveries()) as deliveries:
            async for delivery in deliveries:
                if delivery is None:
                    yield None
                    continue
                key = delivery.subject.removeprefix(self._prefix)
                gone = delivery.headers.get(OPERATION) in REMOVED or not delivery.data
                yield Entry(key, None if gone else self._kind.decode(delivery.data), delivery.sequence)
