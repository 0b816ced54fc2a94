"""The archiver, put together."""

import asyncio
from datetime import timedelta

from schemas.archive import DeleteSession, ListSessions, ReadLog
from services.archiver.ahead import move_past_archive
from services.archiver.archive import Archive
from services.archiver.audited import AuditedReading
from services.archiver.backend import Backend
from services.archiver.deletion import Deletion
from services.archiver.folder import Folder
from services.archiver.handlers import Requests
from services.archiver.health import StoreHealth
from services.archiver.listings import Listings
from services.archiver.purge import Purge
from services.archiver.reading import Reading
from services.archiver.retention import Expiry, Sweeps
from services.archiver.sessions import Sessions
from services.archiver.settings import ArchiverSettings, check
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.archiver.trigger import Trigger
from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.service import Service

DRAIN_SECONDS = 10.0
# Most of what a reading takes is waiting for others, or for the store.
READS_AT_ONCE = 16


class Archiver:
    """One archiver; any number of them may share the broker and the store."""

    def __init__(self, bus: Bus, settings: ArchiverSettings, store: Store, health: StoreHealth) -> None:
        self._store = store
        listings = Listings(store)
        stream = SessionsStream(bus)
        deletion = Deletion(bus, store, listings, stream)
        archive = Archive(bus, store, listings, stream)
        self._trigger = Trigger(bus, archive, listings, health, settings.flush_seconds)
        self._sweeps = Sweeps(
            Purge(bus, listings, stream, timedelta(days=settings.keep_days)),
            Expiry(store, stream, deletion, settings),
            health,
            settings.sweep_seconds,
        )
        reading = AuditedReading(bus, Reading(store, listings))
        self._reads = Requests(bus, "archiver.read.*.*.*", ReadLog, reading.answer, at_once=READS_AT_ONCE)
        self._lists = Requests(bus, ListSessions.subject(), ListSessions, Sessions(store).answer)
        self._deletes = Requests(bus, DeleteSession.subject(), DeleteSession, deletion.answer)

    async def run(self) -> None:
        """Archive and answer for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reads.run(), name="reads")
                tasks.create_task(self._lists.run(), name="lists")
                tasks.create_task(self._deletes.run(), name="deletes")
                tasks.create_task(self._trigger.run(), name="trigger")
                tasks.create_task(self._sweeps.run(), name="sweeps")
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
    """Return the archiver, the stream moved past the archive. Waits while the store cannot be used."""
    health = StoreHealth()
    readiness.add("object store", lambda: health.usable)
    store = Store(backend_of(settings))
    stream = SessionsStream(bus)
    await health.until_done("start", lambda: move_past_archive(bus, store, stream))
    return Archiver(bus, settings, store, health)
