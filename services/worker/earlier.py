"""What was said in a session before, readable: for an agent whose own conversation cannot be resumed."""

import contextlib

from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.inputs import INPUTS, Said
from schemas.keys import SessionKey
from schemas.people import Remark
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.worker.archive import Archived, Unreadable
from services.worker.core import in_record, quoted

# As much as a model reads without losing sight of the present; the latest words are the ones kept.
MOST_CHARACTERS = 40_000
# What follows it may be the middle of an entry, and is not to be taken for the beginning of one.
CUT = "... "
_LEAVES = ("in", "end")


class Earlier:
    """Who said what in the session `key`."""

    def __init__(self, bus: Bus, key: SessionKey) -> None:
        self._bus = bus
        self._filters = [f"session.{key}.{leaf}.*" for leaf in _LEAVES]
        self._archived = [Archived(bus, key, leaf) for leaf in _LEAVES]

    async def read(self, before: int) -> str:
        """Return it up to sequence `before`, the archive first: on from where an earlier try came to. Raises `Unavailable`.

        What the archive holds from a place on that cannot be read is left out.
        """
        words: dict[int, str] = {}
        for archived in self._archived:
            with contextlib.suppress(Unreadable):
                await archived.read()
            words |= {record.seq: _words(bytes(record.payload)) for record in archived.records}
        reached = min(archived.through for archived in self._archived)
        for delivery in await read(self._bus, "SESSIONS", self._filters, after=reached):
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
