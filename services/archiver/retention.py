"""What leaves by itself: archived events that grew old leave the stream, sessions past their days leave the archive."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from schemas.archive import Deleted, DeleteSession
from schemas.base import now
from schemas.buckets import Turns
from schemas.bus import TURNS
from schemas.keys import InvalidKey, SessionKey
from services.archiver.backend import StoreError, Unavailable
from services.archiver.core import purge_before
from services.archiver.deletion import Deletion
from services.archiver.health import StoreHealth
from services.archiver.listings import LIFE, Listing, Listings
from services.archiver.metrics import EXPIRED, PURGED
from services.archiver.sessions import archived_sessions
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

log = structlog.get_logger(__name__)

# A reader with an older listing still finds in the stream what was archived since.
SETTLED = timedelta(seconds=6 * LIFE)

Clock = Callable[[], datetime]


class Purge:
    """Takes out of the stream what is archived, old, and needed by no turn and no consumer."""

    def __init__(
        self, bus: Bus, listings: Listings, stream: SessionsStream, keep: timedelta, clock: Clock = now
    ) -> None:
        self._listings = listings
        self._stream = stream
        self._keep = keep
        self._clock = clock
        self._turns = Bucket(bus, TURNS.name, Turns)

    async def sweep(self) -> int:
        """Purge every session once; return how many events went. Raises both `Unavailable`."""
        floors = await self._stream.floors()
        old = await self._stream.first_since(self._clock() - self._keep)
        gone = 0
        for name in sorted(await self._stream.sessions()):
            try:
                gone += await self._purge(SessionKey.parse(name), old, floors)
            except Unavailable:
                raise
            except (StoreError, InvalidKey) as e:
                log.warning("a session stays in the stream", session=name, reason=str(e))
        return gone

    async def _purge(self, key: SessionKey, old: int, floors: list[int]) -> int:
        first = await self._stream.first(f"session.{key}.>")
        if first is None or first[0] >= old:
            return 0
        # What is destroyed here must really be in the store: what is remembered of it is not enough.
        self._listings.forget(key)
        archived = await self._archived(key, first[0])
        turns = (await self._turns.get(str(key))).value
        before = purge_before(archived, old, turns, floors)
        if before <= first[0]:
            return 0
        gone = await self._stream.purge(key, before)
        PURGED.inc(gone)
        return gone

    async def _archived(self, key: SessionKey, first: int) -> int:
        """Return up to which sequence the objects hold all that the stream does of a session, which is from `first` on."""
        until = self._clock() - SETTLED
        archived = 0
        for info, span in (await self._listings.of(key)).objects:
            if info.created > until or span.last_seq < first:
                continue
            # A broker that was rolled back gave out sequences a second time: what has them now is in no object.
            other = await self._stream.stored_after(key, span.last_time, span.last_seq)
            if other is not None:
                log.warning("a rolled back broker's events stay in the stream", session=str(key), first=other)
                return other - 1
            archived = span.last_seq
        return archived


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
