"""What was said in a session before, readable: for an agent whose own conversation cannot be resumed."""

import msgspec

from schemas.archive import LogPage, ReadLog
from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.inputs import INPUTS, Said
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.follow import read

# As much as a model reads without losing sight of the present; the latest words are the ones kept.
MOST_CHARACTERS = 40_000


class _Record(msgspec.Struct):
    seq: int
    payload: msgspec.Raw


async def readable_transcript(bus: Bus, key: SessionKey, before: int) -> str:
    """Return who said what before sequence `before`, the archive first. Raises `Unavailable`."""
    words: dict[int, str] = {}
    through = max([await _archived(bus, key, leaf, words) for leaf in ("in", "end")])
    filters = [f"session.{key}.in.*", f"session.{key}.end.*"]
    for delivery in await read(bus, "SESSIONS", filters, after=through):
        words[delivery.sequence] = _words(delivery.data)
    lines = [text for sequence, text in sorted(words.items()) if text and sequence < before]
    return "\n\n".join(lines)[-MOST_CHARACTERS:]


async def _archived(bus: Bus, key: SessionKey, leaf: str, words: dict[int, str]) -> int:
    after, more = 0, True
    while more:
        page = LogPage.decode(
            await bus.request(ReadLog.subject(), ReadLog(session=str(key), after=after, only=leaf))
        )
        for raw in page.records:
            record = msgspec.json.decode(raw, type=_Record)
            words[record.seq] = _words(record.payload)
        after, more = max(after, page.through), page.more
    return after


def _words(payload: bytes | msgspec.Raw) -> str:
    try:
        said = INPUTS.decode(bytes(payload))
        if isinstance(said, Said):
            return f"{said.user.name or said.user.id}: {said.text}"
        return f"You: {TurnEnd.decode(bytes(payload)).text}"
    except MalformedMessage:
        return ""
