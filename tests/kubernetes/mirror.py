"""What the API server has of a kind, kept current by list and watch, through its restarts too."""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp

from tests.kubernetes.api import GONE, TOO_MANY, Api, Object, Refused, key_of

AGAIN_SECONDS = 0.1
Key = tuple[str, str]


class Mirror:
    """`objects` by namespace and name; `heard` is called with each object as it changes, and whether it is still there."""

    def __init__(self, api: Api, path: str, heard: Callable[[Object, bool], None]) -> None:
        self._api = api
        self._path = path
        self._heard = heard
        self._version = ""
        self._listed = False
        self._changed = asyncio.Condition()
        self.objects: dict[Key, Object] = {}

    async def run(self) -> None:
        """Keep it current, for ever."""
        while True:
            try:
                await self._list()
                await self._follow()
            except Refused as e:
                if e.status not in (GONE, TOO_MANY) and e.status < 500:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(AGAIN_SECONDS)  # a server that restarts answers again soon

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return as soon as `holds` does, asked at every change."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._listed and holds())

    async def _list(self) -> None:
        listed = await self._api.get(self._path)
        self._version = listed["metadata"]["resourceVersion"]
        there = {key_of(each): _plain(each) for each in listed.get("items") or []}
        for key, obj in [*self.objects.items()]:
            if key not in there or there[key]["metadata"]["uid"] != obj["metadata"]["uid"]:
                await self._take(obj, there=False)
        for obj in there.values():
            if self.objects.get(key_of(obj)) != obj:
                await self._take(obj, there=True)
        self._listed = True
        async with self._changed:
            self._changed.notify_all()

    async def _follow(self) -> None:
        while True:
            async with contextlib.aclosing(self._api.watch(self._path, self._version)) as events:
                async for kind, obj in events:
                    self._version = obj["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        await self._take(_plain(obj), there=kind != "DELETED")

    async def _take(self, obj: Object, *, there: bool) -> None:
        if there:
            self.objects[key_of(obj)] = obj
        else:
            self.objects.pop(key_of(obj), None)
        self._heard(obj, there)
        async with self._changed:
            self._changed.notify_all()


def _plain(obj: Object) -> Object:
    """Return `obj` without the book-keeping of who wrote which of its fields."""
    obj["metadata"].pop("managedFields", None)
    return obj
