"""Asking the archive for what it holds of a session."""

import msgspec

from schemas.archive import LogPage, ReadLog
from schemas.base import MalformedMessage
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable

ARCHIVE_SECONDS = 10.0


class Record(msgspec.Struct):
    """An archived message: its sequence in the stream and its payload, `null` for one that was no JSON."""

    seq: int
    payload: msgspec.Raw = msgspec.Raw(b"null")


class Archived:
    """What the archive holds of `leaf` of a session: its `records` in order, `through` the sequence that it goes up to."""

    def __init__(self, bus: Bus, key: SessionKey, leaf: str) -> None:
        self._bus = bus
        self.key = key
        self._leaf = leaf
        self._more = True
        self.records: list[Record] = []
        self.through = 0

    async def read(self) -> None:
        """Read to the end, or on from where an earlier try came to.

        Raises `Unavailable` when the archive does not answer, or not with a page.
        """
        while self._more:
            request = ReadLog(session=str(self.key), after=self.through, only=self._leaf)
            page = _page(await self._bus.request(request.subject(), request, deadline=ARCHIVE_SECONDS))
            self.records += [msgspec.json.decode(raw, type=Record) for raw in page.records]
            self.through, self._more = max(self.through, page.through), page.more


def _page(reply: bytes) -> LogPage:
    try:
        return LogPage.decode(reply)
    except MalformedMessage as e:
        word = reply[:200].decode(errors="replace")
        raise Unavailable(f"the archive answered something else: {word}") from e
