"""The bucket `turns`, kept at hand: every replica follows it, so that it can go on where another one stopped."""

import asyncio
from collections.abc import Callable, Iterator

from schemas.buckets import Turns
from schemas.bus import TURNS
from schemas.keys import InvalidKey, SessionKey
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus

# Idle sessions are kept at hand up to this many in all; any other is read when it is needed.
AT_HAND = 20_000


class Memories:
    """The memory of every session; `on_change` hears of those that another replica wrote, and may hear of our own."""

    def __init__(self, bus: Bus, on_change: Callable[[SessionKey], None]) -> None:
        self._bucket = Bucket(bus, TURNS.name, Turns)
        self._entries: dict[SessionKey, Entry[Turns]] = {}
        self._on_change = on_change
        self.loaded = asyncio.Event()

    async def get(self, key: SessionKey) -> tuple[Turns, int]:
        """Return the memory of `key` and its revision; it may be an older one, which a write then finds out."""
        entry = self._entries.get(key) or await self._bucket.get(str(key))
        return entry.value or Turns(), entry.revision

    def at_hand(self, key: SessionKey) -> bool:
        """Tell whether `get` asks nobody."""
        return key in self._entries

    async def put(self, key: SessionKey, memory: Turns, revision: int) -> int:
        """Write `memory`. Raises `Conflict` (the next `get` asks the broker) and `Unavailable`."""
        known = self._entries.get(key)
        try:
            written = await self._bucket.put(str(key), memory, revision)
        except BaseException:
            # What stands there now is another's, where that was heard of meanwhile.
            if self._entries.get(key) is known:
                self._entries.pop(key, None)
            raise
        self._keep(key, Entry(str(key), memory, written))
        return written

    async def is_idle(self, key: SessionKey) -> bool:
        """Tell whether nothing is open or waiting, whatever is not heard of here yet. Raises `Unavailable`."""
        memory = (await self._bucket.get(str(key))).value
        return memory is None or memory.idle

    async def untold_since(self, key: SessionKey) -> int:
        """Return that of the memory as it is stored. Raises `Unavailable`."""
        memory = (await self._bucket.get(str(key))).value
        return memory.untold_since if memory else 0

    def active(self) -> Iterator[tuple[SessionKey, Turns]]:
        """Yield the sessions that have something open or waiting."""
        for key, entry in list(self._entries.items()):
            if entry.value and _is_active(entry):
                yield key, entry.value

    async def run(self) -> None:
        """Follow the bucket for ever."""
        async for entry in self._bucket.watch():
            if entry is None:
                self.loaded.set()
                continue
            try:
                key = SessionKey.parse(entry.key)
            except InvalidKey:
                continue
            known = self._entries.get(key)
            if self._keep(key, entry) and (_is_active(known) or _is_active(entry)):
                self._on_change(key)

    def _keep(self, key: SessionKey, entry: Entry[Turns]) -> bool:
        """Keep `entry`, unless a later one was heard of first."""
        known = self._entries.get(key)
        if known is not None and known.revision >= entry.revision:
            return False
        self._entries[key] = entry
        if len(self._entries) > AT_HAND:
            idle = (other for other, each in self._entries.items() if other != key and not _is_active(each))
            self._entries.pop(next(idle, key))
        return True


def _is_active(entry: Entry[Turns] | None) -> bool:
    return entry is not None and entry.value is not None and not entry.value.idle
