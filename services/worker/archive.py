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


async def archived(bus: Bus, key: SessionKey, leaf: str) -> tuple[list[Record], int]:
    """Return the archived messages of `leaf` in order, and the sequence up to which the archive goes.

    Raises `Unavailable` when the archive does not answer, or not with a page.
    """
    records: list[Record] = []
    after, more = 0, True
    while more:
        request = ReadLog(session=str(key), after=after, only=leaf)
        page = _page(await bus.request(request.subject(), request, deadline=ARCHIVE_SECONDS))
        records += [msgspec.json.decode(raw, type=Record) for raw in page.records]
        after, more = max(after, page.through), page.more
    return records, after


def _page(reply: bytes) -> LogPage:
    try:
        return LogPage.decode(reply)
    except MalformedMessage as e:
        word = reply[:200].decode(errors="replace")
        raise Unavailable(f"the archive answered something else: {word}") from e
