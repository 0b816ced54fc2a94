"""Sessions past their days leave the archive; this and what leaves the stream, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from schemas.archive import Deleted, DeleteSession
from schemas.base import now
from schemas.keys import SessionKey
from services.archiver.backend import StoreError, Unavailable
from services.archiver.deletion import Deletion
from services.archiver.health import StoreHealth
from services.archiver.listings import Listing
from services.archiver.metrics import EXPIRED
from services.archiver.purge import Clock, Purge
from services.archiver.sessions import archived_sessions
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.archiver.stream import SessionsStream

log = structlog.get_logger(__name__)


class Expiry:
    """Deletes sessions whose last event is older than their team's days."""

    def __init__(
        self,
        store: Store,
        stream: SessionsStream,
        deletion: Deletion,
        settings: ArchiverSettings,
        clock: Clock = now,
    ) -> None:
        self._store = store
        self._stream = stream
        self._deletion = deletion
        self._days = settings.days_of()
        self._default = settings.retention_days
        self._dry_run = settings.retention_dry_run
        self._clock = clock
        self._told: set[SessionKey] = set()

    async def sweep(self) -> list[SessionKey]:
        """Delete what is past its days, or only tell; return those sessions.

        A session that the store does not let go of is told once, and tried again in the next sweep. Raises both
        `Unavailable`, and `StoreError` where the store cannot be listed.
        """
        if not self._default and not any(self._days.values()):
            return []
        expired = [
            key
            async for key, listing in archived_sessions(self._store)
            if self._is_past(key, listing)
            and not await self._stream.holds_after(key, listing.position.last_seq)
        ]
        return [key for key in expired if await self._gone(key)]

    def _is_past(self, key: SessionKey, listing: Listing) -> bool:
        days = self._days.get(key.team, self._default)
        times = [span.last_time for _, span in listing.objects if span.count]
        return bool(days and times) and max(times) < self._clock() - timedelta(days=days)

    async def _gone(self, key: SessionKey) -> bool:
        try:
            gone = await self._delete(key)
        except Unavailable:
            raise
        except StoreError as e:
            if key not in self._told:
                log.warning("a session stays past its days", session=str(key), reason=str(e))
            self._told.add(key)
            return False
        self._told.discard(key)
        return gone

    async def _delete(self, key: SessionKey) -> bool:
        request = DeleteSession(session=str(key), by="retention", dry_run=self._dry_run)
        answer = await self._deletion.answer(request)
        if not isinstance(answer, Deleted):
            return False
        log.info("past its days", session=str(key), objects=answer.objects, dry_run=self._dry_run)
        EXPIRED.labels(str(self._dry_run).lower()).inc()
        return True


class Sweeps:
    """Both, again and again; neither waits for the other."""

    def __init__(self, purge: Purge, expiry: Expiry, health: StoreHealth, seconds: float) -> None:
        self._purge = purge
        self._expiry = expiry
        self._health = health
        self._seconds = seconds

    async def run(self) -> None:
        """Sweep for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat("purge", self._purge.sweep), name="purge")
            tasks.create_task(self._repeat("retention", self._expiry.sweep), name="retention")

    async def _repeat(self, what: str, sweep: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._health.until_done(what, sweep)
            await asyncio.sleep(self._seconds)
