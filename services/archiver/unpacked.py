"""Objects read and unpacked, remembered for whoever asks next: pages follow each other, and so do tries."""

import asyncio
from collections import OrderedDict
from functools import partial

from services.archiver.backend import Corrupt, ObjectInfo
from services.archiver.records import unpack
from services.archiver.store import Store

AT_HAND = 64 * 2**20  # bytes of lines: eight of the largest objects
LIFE = 60.0  # seconds that an object is remembered: a deleted one is missed by then
_LEAST = 4096  # bytes that a small one counts for, which is more than a task takes
_CALLS = 4  # readings from the store, which has as many threads left for lists and for what is written

_Key = tuple[str, int]


class Unpacked:
    """The lines of objects. A reading goes on though nobody waits for it any more: the next one to ask finds what it brought."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readings: OrderedDict[_Key, asyncio.Task[list[bytes]]] = OrderedDict()
        self._sizes: dict[_Key, int] = {}  # of those that have ended
        self._size = 0
        self._places = asyncio.Semaphore(_CALLS)

    def begin(self, info: ObjectInfo) -> "asyncio.Task[list[bytes]]":
        """Return the reading of `info`, begun unless it is known: await it shielded."""
        key = (info.name, info.generation)
        if key not in self._readings:
            reading = asyncio.create_task(self._read(key), name=f"read {info.name}")
            reading.add_done_callback(partial(self._ended, key))
            self._readings[key] = reading
        self._readings.move_to_end(key)
        return self._readings[key]

    async def _read(self, key: _Key) -> list[bytes]:
        name, _ = key
        async with self._places:
            data = await self._store.read(name)
        try:
            lines = await asyncio.to_thread(unpack, data)
        except Corrupt as e:
            raise Corrupt(f"{name}: {e}") from e
        self._remember(key, lines)
        return lines

    def _ended(self, key: _Key, reading: "asyncio.Task[list[bytes]]") -> None:
        if reading.cancelled() or reading.exception() is not None:
            del self._readings[key]

    def _remember(self, key: _Key, lines: list[bytes]) -> None:
        # Before anybody has the lines: who asks for the next ones finds what is forgotten for these.
        self._sizes[key] = max(_LEAST, sum(map(len, lines)))
        self._size += self._sizes[key]
        asyncio.get_running_loop().call_later(LIFE, self._forget, key)
        while self._size > AT_HAND and len(self._sizes) > 1:
            self._forget(next(key for key in self._readings if key in self._sizes))

    def _forget(self, key: _Key) -> None:
        if key in self._sizes:
            del self._readings[key]
            self._size -= self._sizes.pop(key)
