"""Files on the bus: a bucket of objects, chunked by the broker's own convention."""

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError, ObjectNotFoundError
from nats.js.object_store import ObjectStore

from services.runtime.errors import Unavailable


class FileBucket:
    """The files of one bucket; names are anything, contents are held in memory whole."""

    def __init__(self, client: Client, bucket: str) -> None:
        self._jetstream = client.jetstream(timeout=10)
        self._bucket = bucket
        self._store: ObjectStore | None = None

    async def put(self, name: str, data: bytes) -> None:
        """Store `data` under `name`. Raises `Unavailable`."""
        try:
            await (await self._open()).put(name, data)
        except (NatsError, TimeoutError) as e:
            raise Unavailable(f"the file {name} could not be stored: {e}") from e

    async def has(self, name: str) -> bool:
        """Whether there is a file called `name`. Raises `Unavailable`."""
        try:
            await (await self._open()).get_info(name)
        except (ObjectNotFoundError, NotFoundError):
            return False
        except (NatsError, TimeoutError) as e:
            raise Unavailable(f"the file {name} could not be looked up: {e}") from e
        return True

    async def get(self, name: str) -> bytes | None:
        """Return the file, None when there is none (any more). Raises `Unavailable`."""
        try:
            found = await (await self._open()).get(name)
        except (ObjectNotFoundError, NotFoundError):
            return None
        except (NatsError, TimeoutError) as e:
            raise Unavailable(f"the file {name} could not be read: {e}") from e
        return found.data

    async def _open(self) -> ObjectStore:
        if self._store is None:
            self._store = await self._jetstream.object_store(self._bucket)
        return self._store
