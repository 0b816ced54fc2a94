"""Reading back: a session's records, a page at a time, as the lines that lie in its objects."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from schemas.archive import LogPage, ReadLog, Refused
from schemas.bus import MAX_PAYLOAD
from schemas.keys import SessionKey
from services.archiver.backend import Corrupt, Missing, ObjectInfo, StoreError, Unavailable
from services.archiver.core import leaf_of
from services.archiver.listings import Listing, Listings
from services.archiver.objects import Span
from services.archiver.store import Store
from services.archiver.unpacked import Unpacked

PAGE = 2**20
_SPARE = 4096  # around the records of an answer
_AT_ONCE = 8  # objects begun beside each other,
_SMALL = 2**20  # as long as they have fewer bytes together, compressed
_MOST_OBJECTS = 64  # for one page, however little of them is wanted
_ANSWER_SECONDS = 4.0  # whoever asks waits for ten, and goes on from where a page ends
_LATER = "The object store does not answer now; ask again"


class _Head(msgspec.Struct):
    seq: int
    subject: str


_HEAD = msgspec.json.Decoder(_Head)


def _head(name: str, line: bytes) -> _Head:
    try:
        return _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Corrupt(f"{name}: a record of it cannot be read: {e}; restore it from a backup") from e


class _Page:
    """A page being filled."""

    def __init__(self, after: int, only: str) -> None:
        self.through = after
        self.lines: list[bytes] = []
        self._after = after
        self._only = only
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether whoever asks on will be further than before."""
        return self.through > self._after

    def take(self, name: str, lines: Iterable[bytes]) -> bool:
        """Add what is wanted of the lines of the object `name`; return False when something did not fit any more."""
        for line in lines:
            head = _head(name, line)
            if head.seq <= self._after:
                continue
            if not self._only or leaf_of(head.subject) == self._only:
                if self.lines and self._size + len(line) > PAGE:
                    return False
                self.lines.append(line)
                self._size += len(line) + 1
            self.through = head.seq
        return True


class Reading:
    """Answers `ReadLog`."""

    def __init__(self, store: Store, listings: Listings) -> None:
        self._listings = listings
        self._unpacked = Unpacked(store)

    async def answer(self, request: ReadLog) -> LogPage | Refused:
        """Return the page that `request` asks for. Raises `InvalidKey`, `Unavailable` and `StoreError`."""
        key = SessionKey.parse(request.session)
        until = asyncio.get_running_loop().time() + _ANSWER_SECONDS
        try:
            return await self._page(await self._listing(key, until), request, until)
        except Missing:
            # Deleted by another archiver since it was listed.
            self._listings.forget(key)
            return await self._page(await self._listing(key, until), request, until)

    async def _listing(self, key: SessionKey, until: float) -> Listing:
        try:
            async with asyncio.timeout_at(until):
                return await self._listings.of(key)
        except TimeoutError as e:
            raise Unavailable(_LATER) from e

    async def _page(self, listing: Listing, request: ReadLog, until: float) -> LogPage | Refused:
        page = _Page(request.after, request.only)
        wanted = [
            (info, span) for info, span in listing.objects if span.count and span.last_seq > request.after
        ]
        whole = await self._fill(page, wanted, until)
        if page.lines and len(page.lines[0]) > MAX_PAYLOAD - _SPARE:
            return Refused(
                reason=f"The record after sequence {request.after} is larger than an answer may be",
                later=False,
            )
        through = max(page.through, listing.position.last_seq) if whole else page.through
        return LogPage(
            records=tuple(msgspec.Raw(line) for line in page.lines), through=through, more=not whole
        )

    async def _fill(self, page: _Page, wanted: Sequence[tuple[ObjectInfo, Span]], until: float) -> bool:
        """Fill `page` with what the store gives in time; return whether that was all.

        What goes wrong ends a page that has begun, and is raised by the next one, which begins there: `StoreError`. Raises
        `Missing` in any case.
        """
        try:
            async with asyncio.timeout_at(until):
                return await self._take(page, wanted)
        except Missing:
            raise
        except (TimeoutError, StoreError) as e:
            if page.begun:
                return False
            if isinstance(e, TimeoutError):
                raise Unavailable(_LATER) from e
            raise

    async def _take(self, page: _Page, wanted: Sequence[tuple[ObjectInfo, Span]]) -> bool:
        for some in _groups([info for info, _ in wanted[:_MOST_OBJECTS]]):
            for info, reading in [(info, self._unpacked.begin(info)) for info in some]:
                if not page.take(info.name, await asyncio.shield(reading)):
                    return False
        return len(wanted) <= _MOST_OBJECTS


def _groups(infos: Sequence[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    group: list[ObjectInfo] = []
    for info in infos:
        if group and (len(group) == _AT_ONCE or sum(one.size for one in group) + info.size > _SMALL):
            yield group
            group = []
        group.append(info)
    if group:
        yield group
