"""What grows old in the stream leaves it, once it is archived."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from schemas.base import now
from schemas.buckets import Turns
from schemas.bus import TURNS
from schemas.keys import InvalidKey, SessionKey
from services.archiver.backend import StoreError, Unavailable
from services.archiver.core import purge_before
from services.archiver.listings import LIFE, Listings
from services.archiver.metrics import PURGED
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
