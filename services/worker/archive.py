"""Asking the archive for what it holds of a session."""

import msgspec

from schemas.archive import PAGES, LogPage, ReadLog, Refused
from schemas.base import MalformedMessage
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable

ARCHIVE_SECONDS = 10.0


class Unreadable(Exception):
    """What is stored of a session cannot be read, and no waiting helps; the message is one sentence for the thread."""


class Record(msgspec.Struct):
    """An archived message: its sequence in the stream and its payload, `null` for one that was no JSON."""

    seq: int
    payload: msgspec.Raw = msgspec.Raw(b"null")


class Archived:
    """What the archive holds of `leaf` of a session, as far as it is read: its `records` in order, up to sequence `through`."""

    def __init__(self, bus: Bus, key: SessionKey, leaf: str) -> None:
        self._bus = bus
        self.key = key
        self._leaf = leaf
        self._more = True
        self.records: list[Record] = []
        self.through = 0

    async def read(self) -> None:
        """Read to the end, or on from where an earlier try came to.

        Raises `Unavailable` when the archive does not answer, or not with a page, and `Unreadable`.
        """
        while self._more:
            request = ReadLog(session=str(self.key), after=self.through, only=self._leaf)
            page = _page(await self._bus.request(request.subject(), request, deadline=ARCHIVE_SECONDS))
            self.records += [msgspec.json.decode(raw, type=Record) for raw in page.records]
            self.through, self._more = max(self.through, page.through), page.more


def _page(reply: bytes) -> LogPage:
    try:
        answer = PAGES.decode(reply)
    except MalformedMessage as e:
        raise Unavailable(f"the archive's answer cannot be read: {e}") from e
    match answer:
        case LogPage():
            return answer
        case Refused(reason=reason, later=False):
            raise Unreadable(f"The session's archive cannot be read: {reason}.")
        case Refused(reason=reason):
            raise Unavailable(reason)
    raise Unavailable("the archive answered something else")
