"""Writing: a session's records from the stream into the objects that follow those really there."""

import asyncio
import contextlib
from datetime import UTC, datetime

import msgspec
import structlog

from schemas.buckets import Summary
from schemas.bus import SESSIONS, SUMMARIES
from schemas.keys import SessionKey
from services.archiver import metrics
from services.archiver.backend import MAX_OBJECT, PreconditionFailed, StoreError, crc32c
from services.archiver.listings import Listings
from services.archiver.objects import CONTENT_TYPE, plan_object, summary_name
from services.archiver.records import Record
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime import errors
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

log = structlog.get_logger(__name__)


class Archive:
    """Appends to the sessions' archives; any number of archivers may do so at once."""

    def __init__(self, bus: Bus, store: Store, listings: Listings, stream: SessionsStream) -> None:
        self._store = store
        self._listings = listings
        self._stream = stream
        self._summaries = Bucket(bus, SUMMARIES.name, Summary)

    async def bring_up(self, key: SessionKey, through: int) -> int:
        """Write what the stream holds beyond the archive; return the sequence up to which nothing is left to write.

        That may be less than `through` when the stream's replica that was read lags behind. Raises `StoreError` and
        both kinds of `Unavailable`, the bus's also where the stream does not reach as far as the archive: it was rolled
        back, and what it holds now may be stored nowhere.
        """
        await self._stream.reached(through)
        while True:
            try:
                archived = await self._append(key)
            except PreconditionFailed:
                self._listings.forget(key)
                continue
            if archived < through and not await self._stream.holds_after(key, archived):
                return through
            if archived > through:
                await self._stream_holds(key, archived)
            return archived

    async def _stream_holds(self, key: SessionKey, archived: int) -> None:
        last = (await self._stream.state()).last_seq
        if last < archived:
            raise errors.Unavailable(
                f"{key} is archived to {archived} and {SESSIONS.name} ends at {last}: it was rolled back; restart the"
                " archivers, which move it past the archive"
            )

    async def summarise(self, key: SessionKey) -> None:
        """Write the session's summary beside its objects, as well as it goes."""
        try:
            while not await self._summarised(key):
                self._listings.forget(key)
        except (StoreError, errors.Unavailable) as e:
            self._listings.forget(key)
            log.info("a summary has to wait for its next change", session=str(key), reason=str(e))

    async def _summarised(self, key: SessionKey) -> bool:
        """Write the summary as it is now; False where another archiver was faster, whose word may be older."""
        entry = await self._summaries.get(str(key))
        if entry.value:
            try:
                await self._write_summary(key, msgspec.json.format(entry.value.encode(), indent=2))
            except PreconditionFailed:
                return False
        return True

    async def _append(self, key: SessionKey) -> int:
        after = (await self._listings.of(key)).position.last_seq
        waiting: list[Record] = []
        size = 0
        async with contextlib.aclosing(self._stream.records(key, after)) as records:
            async for record in records:
                waiting.append(record)
                size += len(record.payload)
                if size >= MAX_OBJECT:
                    waiting = await self._write(key, waiting)
                    size = sum(len(record.payload) for record in waiting)
        while waiting:
            waiting = await self._write(key, waiting)
        return (await self._listings.of(key)).position.last_seq

    async def _write(self, key: SessionKey, records: list[Record]) -> list[Record]:
        """Write one object of `records`; return those that did not fit into it."""
        listing = await self._listings.of(key)
        if records[0].seq <= listing.position.last_seq:
            raise PreconditionFailed(f"{key} went on elsewhere; list the objects and begin again")
        plan = await asyncio.to_thread(plan_object, key, SESSIONS.name, listing.last, records)
        info = await self._store.create(plan.name, plan.data, plan.metadata, CONTENT_TYPE)
        await self._listings.add(key, info)
        metrics.OBJECTS.inc()
        metrics.ARCHIVED.inc(plan.taken)
        metrics.BYTES.inc(len(plan.data))
        metrics.LAG.observe((datetime.now(UTC) - records[0].time).total_seconds())
        return records[plan.taken :]

    async def _write_summary(self, key: SessionKey, data: bytes) -> None:
        there = (await self._listings.of(key)).summary
        if there and there.crc32c == crc32c(data):
            return
        generation = there.generation if there else None
        info = await self._store.replace(summary_name(key), data, {"session": str(key)}, generation)
        await self._listings.add(key, info)
