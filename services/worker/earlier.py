"""What was said in a session before, readable: for an agent whose own conversation cannot be resumed."""

from collections.abc import Sequence

from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.inputs import INPUTS, Said
from schemas.people import Remark
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.worker.archive import Archived
from services.worker.core import in_record, quoted

# As much as a model reads without losing sight of the present; the latest words are the ones kept.
MOST_CHARACTERS = 40_000
# What follows it may be the middle of an entry, and is not to be taken for the beginning of one.
CUT = "... "
LEAVES = ("in", "end")


async def readable_transcript(bus: Bus, archived: Sequence[Archived], before: int) -> str:
    """Return who said what before sequence `before`: what is `archived` of the `LEAVES` first. Raises `Unavailable`."""
    words: dict[int, str] = {}
    for each in archived:
        await each.read()
        words |= {record.seq: _words(bytes(record.payload)) for record in each.records}
    filters = [f"session.{archived[0].key}.{leaf}.*" for leaf in LEAVES]
    for delivery in await read(bus, "SESSIONS", filters, after=min(each.through for each in archived)):
        words[delivery.sequence] = _words(delivery.data)
    lines = [text for sequence, text in sorted(words.items()) if text and sequence < before]
    whole = "\n\n".join(lines)
    return whole if len(whole) <= MOST_CHARACTERS else CUT + whole[-MOST_CHARACTERS:]


def _words(payload: bytes) -> str:
    try:
        said = INPUTS.decode(payload)
        if isinstance(said, Said):
            remarks = (*said.earlier, Remark(user=said.user, text=said.text))
            return "\n\n".join(map(quoted, remarks))
        return in_record(f"You: {TurnEnd.decode(payload).text}")
    except MalformedMessage:
        return ""
