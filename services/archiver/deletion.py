"""Deleting a session: every version of its objects, and its messages in the stream.

What stays is one object without records: it holds the name that another archiver would have written next, so that
nobody puts back what was read before, and the archive's position, so that the session can go on.
"""

from datetime import timedelta

import structlog

from schemas.archive import Deleted, DeleteSession, Refused
from schemas.base import now
from schemas.buckets import Summary, Turns
from schemas.bus import SESSIONS, SUMMARIES, TURNS
from schemas.keys import SessionKey
from schemas.operations import Audited
from services.archiver.backend import PreconditionFailed
from services.archiver.listings import Listing, Listings
from services.archiver.objects import CONTENT_TYPE, Span, session_prefix, tombstone
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime.audit import audit
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Conflict

log = structlog.get_logger(__name__)

_TRIES = 20  # each one lost means that an archiver wrote an object just then


class Deletion:
    """Answers `DeleteSession`; safe to repeat, and to be cut off anywhere and repeated."""

    def __init__(self, bus: Bus, store: Store, listings: Listings, stream: SessionsStream) -> None:
        self._bus = bus
        self._store = store
        self._listings = listings
        self._stream = stream
        self._turns = Bucket(bus, TURNS.name, Turns)
        self._summaries = Bucket(bus, SUMMARIES.name, Summary)

    async def answer(self, request: DeleteSession) -> Deleted | Refused:
        """Do what `request` asks for. Raises `InvalidKey`, `StoreError` and both `Unavailable`."""
        key = SessionKey.parse(request.session)
        turns = (await self._turns.get(str(key))).value
        if turns and (turns.open or turns.waiting):
            return Refused(reason=f"{key} has an open or waiting turn; let it end, then delete again")
        days = await self._store.soft_delete_days()
        self._listings.forget(key)
        listing = await self._listings.of(key)
        count = sum(1 for _, span in listing.objects if span.count)
        messages = await self._stream.count(key)
        if not request.dry_run and (count or listing.summary or messages):
            gone = f"{count} objects and {messages} messages"
            await self._audit(
                key, request.by, gone, f"{listing.position.last_seq}.{await self._stream.last(key)}"
            )
            messages = await self._delete(key)
        if not request.dry_run:
            await self._forget_summary(key)  # a deletion that was cut off may have left it alone
        return Deleted(
            session=str(key),
            objects=count,
            messages=messages,
            recoverable_until=now() + timedelta(days=days) if days and count else None,
        )

    async def _delete(self, key: SessionKey) -> int:
        through = await self._stream.last(key)
        keep = await self._bury(key, through)
        names = [info.name async for info in self._store.list(session_prefix(key)) if info.name < keep]
        for name in [*names, f"{session_prefix(key)}summary.json"]:
            await self._store.delete_all_generations(name)
        purged = await self._stream.purge(key, through + 1)
        self._listings.forget(key)
        log.info("deleted", session=str(key), objects=len(names), messages=purged)
        return purged

    async def _bury(self, key: SessionKey, through: int) -> str:
        """Write the object that closes the archive's past; return its name."""
        for _ in range(_TRIES):
            self._listings.forget(key)
            listing: Listing = await self._listings.of(key)
            if listing.objects and _closes(listing.objects[-1][1], through):
                return listing.objects[-1][0].name  # of a try before, which the store did not let end
            plan = tombstone(key, SESSIONS.name, listing.position, through, now())
            try:
                await self._store.create(plan.name, plan.data, plan.metadata, CONTENT_TYPE)
            except PreconditionFailed:
                continue
            return plan.name
        raise PreconditionFailed(f"{key} is being written to without a pause; delete it again later")

    async def _forget_summary(self, key: SessionKey) -> None:
        entry = await self._summaries.get(str(key))
        if entry.value is None:
            return
        try:
            await self._summaries.delete(str(key), entry.revision)
        except Conflict:
            log.info("the session goes on, and so does its summary", session=str(key))

    async def _audit(self, key: SessionKey, by: str, detail: str, once: str) -> None:
        entry = Audited(team=key.team, who=by, did="deleted", session=str(key), detail=detail)
        await audit(self._bus, entry, once=once)


def _closes(span: Span, through: int) -> bool:
    return not span.count and span.last_seq >= through
