"""Which session each worker was let into: one, for all its life."""

import contextlib

from schemas.buckets import Grant
from schemas.bus import GRANTS
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Conflict


class Grants:
    """The bucket `workers`. All of it raises `Unavailable`."""

    def __init__(self, bus: Bus, *, required: bool) -> None:
        """With `required` nobody is in a session without a grant; on a broker that asks nobody who they are, all are."""
        self._bucket = Bucket(bus, GRANTS.name, Grant)
        self._required = required

    async def of(self, worker: str) -> str | None:
        """Return the session that `worker` was let into, None where it was let into none."""
        granted = (await self._bucket.get(worker)).value
        return granted.session if granted else None

    async def allow(self, worker: str, key: SessionKey) -> bool:
        """Tell whether `worker` may hold the lease of `key`."""
        granted = (await self._bucket.get(worker)).value
        return _is_in(granted, key) if granted else not self._required

    async def includes(self, worker: str, key: SessionKey) -> bool:
        """Tell whether `worker` was let into `key`, and is not known to be gone."""
        return _is_in((await self._bucket.get(worker)).value, key)

    async def give(self, worker: str, key: SessionKey) -> bool:
        """Note that `worker` is let into `key`; False where it was let into another one before."""
        try:
            await self._bucket.create(worker, Grant(session=str(key)))
        except Conflict:
            return (await self._bucket.get(worker)).value == Grant(session=str(key))
        return True

    async def keep(self, worker: str, key: SessionKey) -> bool:
        """Note anew, before it is forgotten, that `worker` is in `key`; False where it is not."""
        return await self._put(worker, Grant(session=str(key)), Grant(session=str(key)))

    async def end(self, worker: str) -> None:
        """Note that `worker` is gone: whoever has its credential still renews it no more."""
        if session := await self.of(worker):
            await self._put(worker, Grant(session=session), Grant(session=session, ended=True))

    async def _put(self, worker: str, known: Grant, grant: Grant) -> bool:
        """Write `grant` in place of `known`; False where that is not what stands there."""
        while (entry := await self._bucket.get(worker)).value == known:
            with contextlib.suppress(Conflict):
                await self._bucket.put(worker, grant, entry.revision)
                return True
        return False


def _is_in(granted: Grant | None, key: SessionKey) -> bool:
    return granted is not None and granted.session == str(key) and not granted.ended
