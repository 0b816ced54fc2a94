"""Reading back: a session's records, a page at a time, as the lines that lie in its objects."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from schemas.archive import LogPage, ReadLog, Refused
from schemas.bus import MAX_PAYLOAD
from schemas.keys import SessionKey
from services.archiver.backend import Corrupt, Missing, ObjectInfo
from services.archiver.core import leaf_of
from services.archiver.listings import Listing, Listings
from services.archiver.objects import Span
from services.archiver.records import unpack
from services.archiver.store import Store

PAGE = 2**20
_SPARE = 4096  # around the records of an answer
_AT_ONCE = 8  # objects read beside each other,
_SMALL = 2**20  # as long as they have fewer bytes together, compressed
_MOST_OBJECTS = 64  # for one page, however little of them is wanted
_AT_HAND = 4  # unpacked objects remembered: the pages of one follow each other


class _Head(msgspec.Struct):
    seq: int
    subject: str


_HEAD = msgspec.json.Decoder(_Head)


def _head(line: bytes) -> _Head:
    try:
        return _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Corrupt(f"A record of the archive cannot be read: {e}; restore its object from a backup") from e


class _Page:
    """A page being filled."""

    def __init__(self, after: int, only: str) -> None:
        self.through = after
        self.lines: list[bytes] = []
        self._after = after
        self._only = only
        self._size = 0

    def take(self, lines: Iterable[bytes]) -> bool:
        """Add what is wanted of an object's lines; return False when something did not fit any more."""
        for line in lines:
            head = _head(line)
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
        self._store = store
        self._listings = listings
        self._unpacked: OrderedDict[tuple[str, int], list[bytes]] = OrderedDict()

    async def answer(self, request: ReadLog) -> LogPage | Refused:
        """Return the page that `request` asks for. Raises `InvalidKey`, `Unavailable` and `StoreError`."""
        key = SessionKey.parse(request.session)
        try:
            return await self._page(await self._listings.of(key), request)
        except Missing:
            # Deleted by another archiver since it was listed.
            self._listings.forget(key)
            return await self._page(await self._listings.of(key), request)

    async def _page(self, listing: Listing, request: ReadLog) -> LogPage | Refused:
        page = _Page(request.after, request.only)
        wanted = [
            (info, span) for info, span in listing.objects if span.count and span.last_seq > request.after
        ]
        whole = await self._fill(page, wanted)
        if page.lines and len(page.lines[0]) > MAX_PAYLOAD - _SPARE:
            return Refused(
                reason=f"The record after sequence {request.after} is larger than an answer may be"
            )
        through = max(page.through, listing.position.last_seq) if whole else page.through
        return LogPage(
            records=tuple(msgspec.Raw(line) for line in page.lines), through=through, more=not whole
        )

    async def _fill(self, page: _Page, wanted: Sequence[tuple[ObjectInfo, Span]]) -> bool:
        """Fill `page`; return whether that was all."""
        for some in _groups([info for info, _ in wanted[:_MOST_OBJECTS]]):
            for lines in await asyncio.gather(*map(self._lines, some)):
                if not page.take(lines):
                    return False
        return len(wanted) <= _MOST_OBJECTS

    async def _lines(self, info: ObjectInfo) -> list[bytes]:
        known = self._unpacked.get((info.name, info.generation))
        if known is not None:
            return known
        data = await self._store.read(info.name)
        lines = await asyncio.to_thread(unpack, data)
        self._unpacked[(info.name, info.generation)] = lines
        if len(self._unpacked) > _AT_HAND:
            self._unpacked.popitem(last=False)
        return lines


def _groups(infos: Sequence[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    group: list[ObjectInfo] = []
    for info in infos:
        if group and (len(group) == _AT_ONCE or sum(one.size for one in group) + info.size > _SMALL):
            yield group
            group = []
        group.append(info)
    if group:
        yield group
