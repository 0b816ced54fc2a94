"""Telling which sessions the archive holds."""

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby

import structlog

from schemas.archive import ListedSession, ListSessions, SessionList
from schemas.base import MalformedMessage
from schemas.buckets import Summary
from schemas.keys import InvalidKey, SessionKey, token
from services.archiver.backend import Corrupt, Missing, ObjectInfo
from services.archiver.listings import Listing
from services.archiver.objects import session_prefix
from services.archiver.store import Store

log = structlog.get_logger(__name__)

_PAGE = 200  # sessions looked at for one answer


class Sessions:
    """Answers `ListSessions`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, request: ListSessions) -> SessionList:
        """Return a page of sessions. Raises `InvalidKey`, `Unavailable` and `StoreError`."""
        start = session_prefix(SessionKey.parse(request.after)) + "~" if request.after else None
        seen: list[tuple[SessionKey, Listing]] = []
        more = False
        async for key, listing in archived_sessions(self._store, _prefix(request), start):
            if len(seen) == _PAGE:
                more = True
                break
            seen.append((key, listing))
        told = await asyncio.gather(*(self._tell(key, listing) for key, listing in seen))
        wanted = tuple(one for one in told if one and _is_wanted(one, request))
        return SessionList(sessions=wanted, through=str(seen[-1][0]) if seen else request.after, more=more)

    async def _tell(self, key: SessionKey, listing: Listing) -> ListedSession | None:
        objects = [info for info, span in listing.objects if span.count]
        if not objects:
            return None
        return ListedSession(
            session=str(key),
            objects=len(objects),
            bytes=sum(info.size for info in objects),
            last_sequence=listing.position.last_seq,
            summary=await self._summary(listing),
        )

    async def _summary(self, listing: Listing) -> Summary | None:
        if listing.summary is None:
            return None
        try:
            return Summary.decode(await self._store.read(listing.summary.name))
        except (Missing, Corrupt, MalformedMessage):
            return None


async def archived_sessions(
    store: Store, prefix: str = "v1/", after: str | None = None
) -> AsyncIterator[tuple[SessionKey, Listing]]:
    """Yield every session of the archive with its listing, in the order of the objects' names."""
    found: list[ObjectInfo] = []
    async for info in store.list(prefix, after):
        if found and _folder(found[0]) != _folder(info):
            for session in _session(found):
                yield session
            found = []
        found.append(info)
    for session in _session(found):
        yield session


def _session(found: list[ObjectInfo]) -> list[tuple[SessionKey, Listing]]:
    """Return the one session of these objects, none where they are not the archive's."""
    for folder, infos in groupby(found, _folder):
        parts = folder.split("/")
        if len(parts) == 4:
            try:
                key = SessionKey(*parts[1:])
                return [(key, Listing.of(key, infos))]
            except (InvalidKey, Corrupt) as e:
                log.warning("objects are passed over", folder=folder, reason=str(e))
    return []


def _folder(info: ObjectInfo) -> str:
    return info.name.rpartition("/")[0]


def _prefix(request: ListSessions) -> str:
    parts = [token(part) for part in (request.team, request.channel) if part]
    return "/".join(["v1", *parts]) + "/" if request.team else "v1/"


def _is_wanted(one: ListedSession, request: ListSessions) -> bool:
    key = SessionKey.parse(one.session)
    user = one.summary.user.id if one.summary else ""
    return request.channel in ("", key.channel) and request.user in ("", user)
