"""What the cluster has of one kind, kept at hand by a list and a watch from there; nothing is asked again and again."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable

import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import GONE, Cluster, Kind, Refused
from services.scheduler.jobs.objects import Object

log = structlog.get_logger(__name__)

# An API server that is away is asked again after so many seconds at first, and then less and less often.
FIRST_BACKOFF, MOST_BACKOFF = 0.1, 5.0
# What was just made may be gone before its maker hears that it was made.
GONE_KEPT = 1000
BOOKMARK, DELETED = "BOOKMARK", "DELETED"

# Hears of an object as it is now, None once it is gone, and as it was, None before.
OnChange = Callable[[Object | None, Object | None], None]


class Mirror:
    """The objects of `kind` that `selector` selects, by uid. `loaded` is set once all of them are known."""

    def __init__(self, cluster: Cluster, kind: Kind, selector: str, on_change: OnChange) -> None:
        self._cluster = cluster
        self._kind: Kind = kind
        self._selector = selector
        self._on_change = on_change
        self._version = ""
        self._failures = 0
        self._gone: deque[str] = deque(maxlen=GONE_KEPT)
        self.objects: dict[str, Object] = {}
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        """Follow for ever, through restarts of the API server."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Refused as e:
                if e.status != GONE:
                    await self._wait(e)
                self._version = ""
            except Unavailable as e:
                await self._wait(e)

    def take_in(self, thing: Object) -> None:
        """Know `thing` ahead of the watch: it was just made, or found to be there."""
        if uid_of(thing) not in self.objects and uid_of(thing) not in self._gone:
            self._put(thing)

    async def _list(self) -> None:
        # What is made meanwhile may be missing from the list, and is there.
        before = set(self.objects)
        found, version = await self._cluster.listed(self._kind, self._selector)
        for thing in found:
            self._put(thing)
        for uid in before - {uid_of(thing) for thing in found}:
            self._remove(uid)
        self._version, self._failures = version, 0
        self.loaded.set()

    async def _watch(self) -> None:
        watch = self._cluster.watch(self._kind, self._selector, self._version)
        async with contextlib.aclosing(watch) as events:
            async for event, thing in events:
                self._failures = 0
                if event == DELETED:
                    self._put(thing)
                    self._remove(uid_of(thing))
                elif event != BOOKMARK:
                    self._put(thing)
                self._version = thing["metadata"]["resourceVersion"]

    def _put(self, thing: Object) -> None:
        before = self.objects.get(uid_of(thing))
        self.objects[uid_of(thing)] = thing
        if before is None or before["metadata"]["resourceVersion"] != thing["metadata"]["resourceVersion"]:
            self._on_change(thing, before)

    def _remove(self, uid: str) -> None:
        self._gone.append(uid)
        if gone := self.objects.pop(uid, None):
            self._on_change(None, gone)

    async def _wait(self, error: Exception) -> None:
        self._failures += 1
        log.warning("the cluster cannot be followed", kind=self._kind, error=str(error))
        most = min(MOST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._failures, 10))
        await asyncio.sleep(random.uniform(most / 2, most))  # noqa: S311 (so that replicas do not come together)


def uid_of(thing: Object) -> str:
    """Return the uid of `thing`."""
    return str(thing["metadata"]["uid"])
