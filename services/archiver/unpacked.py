"""Objects read and unpacked, remembered for whoever asks next: pages follow each other, and so do tries."""

import asyncio
from collections import OrderedDict

from services.archiver.backend import ObjectInfo
from services.archiver.records import unpack
from services.archiver.store import Store

AT_HAND = 4 * 2**20  # compressed bytes


class Unpacked:
    """The lines of objects. A reading goes on though nobody waits for it any more: the next one to ask finds what it brought."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[tuple[str, int], tuple[int, asyncio.Task[list[bytes]]]] = OrderedDict()

    def begin(self, info: ObjectInfo) -> "asyncio.Task[list[bytes]]":
        """Return the reading of `info`, begun unless it is known: await it shielded."""
        key = (info.name, info.generation)
        _, reading = self._known.get(key, (0, None))
        if reading is None or _failed(reading):
            reading = asyncio.create_task(self._read(info), name=f"read {info.name}")
            reading.add_done_callback(_failed)  # an error that nobody waits for any more is no news
            self._known[key] = info.size, reading
        self._known.move_to_end(key)
        self._shrink()
        return reading

    async def _read(self, info: ObjectInfo) -> list[bytes]:
        return await asyncio.to_thread(unpack, await self._store.read(info.name))

    def _shrink(self) -> None:
        while len(self._known) > 1 and sum(size for size, _ in self._known.values()) > AT_HAND:
            self._known.popitem(last=False)


def _failed(reading: "asyncio.Task[list[bytes]]") -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
