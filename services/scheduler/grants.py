"""Which session each worker was let into: one, for all its life."""

from schemas.buckets import Grant
from schemas.bus import GRANTS
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Conflict


class Grants:
    """The bucket `workers`. All of it raises `Unavailable`."""

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, GRANTS.name, Grant)

    async def of(self, worker: str) -> str | None:
        """Return the session that `worker` was let into, None where it was let into none."""
        granted = (await self._bucket.get(worker)).value
        return granted.session if granted else None

    async def give(self, worker: str, key: SessionKey) -> bool:
        """Note that `worker` is let into `key`; False where it was let into another one before."""
        try:
            await self._bucket.create(worker, Grant(session=str(key)))
        except Conflict:
            return await self.of(worker) == str(key)
        return True

    async def keep(self, worker: str, key: SessionKey) -> bool:
        """Note anew, before it is forgotten, that `worker` is in `key`; False where it is not."""
        entry = await self._bucket.get(worker)
        if entry.value is None or entry.value.session != str(key):
            return False
        try:
            await self._bucket.put(worker, entry.value, entry.revision)
        except Conflict:
            return await self.of(worker) == str(key)
        return True
