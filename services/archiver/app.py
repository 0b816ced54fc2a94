"""The archiver, put together."""

import asyncio

from schemas.archive import ReadLog
from services.archiver.archive import Archive
from services.archiver.backend import Backend
from services.archiver.folder import Folder
from services.archiver.handlers import Requests
from services.archiver.health import StoreHealth
from services.archiver.listings import Listings
from services.archiver.reading import Reading
from services.archiver.settings import ArchiverSettings, check
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.archiver.trigger import Trigger
from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.lifecycle import Service

DRAIN_SECONDS = 10.0


class Archiver:
    """One archiver; any number of them may share the broker and the store."""

    def __init__(self, bus: Bus, settings: ArchiverSettings, store: Store, health: StoreHealth) -> None:
        self._store = store
        listings = Listings(store)
        stream = SessionsStream(bus)
        archive = Archive(bus, store, listings, stream)
        self._trigger = Trigger(bus, archive, listings, health, settings.flush_seconds)
        self._reads = Requests(bus, ReadLog.subject(), ReadLog, Reading(store, listings).answer)

    async def run(self) -> None:
        """Archive and answer for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reads.run(), name="reads")
                tasks.create_task(self._trigger.run(), name="trigger")
        finally:
            await self._store.close()

    async def drain(self) -> None:
        """Archive what was heard of, as far as that goes quickly; the stream keeps the rest."""
        until = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while not self._trigger.idle and asyncio.get_running_loop().time() < until:
            self._trigger.hurry()
            await asyncio.sleep(0.02)


def backend_of(settings: ArchiverSettings) -> Backend:
    """Return the place that the settings name. Raises `SettingsError`."""
    check(settings)
    if settings.folder is not None:
        return Folder(settings.folder)
    from services.archiver import gcs  # noqa: PLC0415 (takes half a second, which a folder need not wait for)

    return gcs.Bucket(gcs.connect(settings.gcs_endpoint), str(settings.bucket))


async def wire(bus: Bus, readiness: Readiness, settings: ArchiverSettings) -> Service:
    """Return the archiver; it is ready while the store can be used."""
    health = StoreHealth()
    readiness.add("object store", lambda: health.usable)
    store = Store(backend_of(settings))
    return Archiver(bus, settings, store, health)
