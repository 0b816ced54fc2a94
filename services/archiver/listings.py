"""What the store holds of each session, remembered for a while.

A remembered listing may miss another archiver's objects. A writer finds out by a failed precondition; for a reader the
events in question are still in the stream, which keeps them for longer than a listing is remembered.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from schemas.keys import SessionKey
from services.archiver.backend import ObjectInfo
from services.archiver.objects import Position, Span, is_log, position, session_prefix, summary_name
from services.archiver.store import Store

LIFE = 600.0  # seconds that a listing is remembered
_AT_HAND = 5_000


class Listing(msgspec.Struct, frozen=True):
    """A session's objects in order, with what they hold, its summary, and where its archive goes on."""

    objects: tuple[tuple[ObjectInfo, Span], ...]
    summary: ObjectInfo | None
    position: Position

    @classmethod
    def of(cls, key: SessionKey, found: Iterable[ObjectInfo]) -> "Listing":
        """Return the listing of a session. Raises `Corrupt`."""
        infos = list(found)
        summary = next((info for info in infos if info.name == summary_name(key)), None)
        logs = [info for info in infos if is_log(info.name)]
        return cls(tuple((info, Span.read(info)) for info in logs), summary, position(logs))

    @property
    def last(self) -> ObjectInfo | None:
        """The newest object."""
        return self.objects[-1][0] if self.objects else None


class Listings:
    """The listings of all sessions; the least used are forgotten."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[SessionKey, tuple[float, asyncio.Task[Listing]]] = OrderedDict()

    async def of(self, key: SessionKey) -> Listing:
        """Return a session's listing. Raises `Unavailable` and `StoreError`."""
        listed, task = self._known.get(key, (0.0, None))
        if task is None or time.monotonic() - listed > LIFE or _failed(task):
            task = self._begin(key)
        # Several may wait for one listing; whoever gives up does not end it for the others.
        return await asyncio.shield(task)

    def prefetch(self, key: SessionKey) -> None:
        """Begin to list a session that will be asked for soon."""
        if key not in self._known:
            self._begin(key)

    def forget(self, key: SessionKey) -> None:
        """List anew when asked next: what was remembered proved wrong."""
        self._known.pop(key, None)

    async def add(self, key: SessionKey, info: ObjectInfo) -> None:
        """Remember an object that was just written."""
        listed, task = self._known.get(key, (0.0, None))
        if task is None:
            return
        before = await asyncio.shield(task)
        kept = [known for known, _ in before.objects if known.name != info.name]
        kept += [before.summary] if before.summary and before.summary.name != info.name else []
        after: asyncio.Task[Listing] = asyncio.create_task(_now(Listing.of(key, [*kept, info])))
        self._keep(key, listed, after)

    def _begin(self, key: SessionKey) -> asyncio.Task[Listing]:
        task = asyncio.create_task(self._list(key), name=f"list {key}")
        task.add_done_callback(_failed)  # an error that nobody waits for any more is no news
        self._keep(key, time.monotonic(), task)
        return task

    def _keep(self, key: SessionKey, listed: float, task: asyncio.Task[Listing]) -> None:
        self._known[key] = (listed, task)
        self._known.move_to_end(key)
        if len(self._known) > _AT_HAND:
            self._known.popitem(last=False)

    async def _list(self, key: SessionKey) -> Listing:
        return Listing.of(key, [info async for info in self._store.list(session_prefix(key))])


async def _now(listing: Listing) -> Listing:
    return listing


def _failed(task: asyncio.Task[Listing]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
