"""The agent's conversation in the session's log: read from the archive and the stream, written to the stream."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from schemas.keys import SessionKey
from schemas.state import StateAppended
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.worker.agents.protocol import Entry
from services.worker.archive import Archived, Unreadable
from services.worker.session_log import SessionLog

PATIENCE_SECONDS = 10.0
# Far below the broker's maximum payload: it is ASCII, and JSON inside JSON grows by its escapes, twofold at most.
PART_CHARACTERS = 512 * 1024


class Conversations:
    """The conversation that goes on in a session: entries by subpath in order, each `uuid` once, and who wrote them.

    What stood there before another agent, or the same one anew, began its own is abandoned for good.
    """

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.agent = ""
        self.conversation = ""
        self.told: str | None = None
        self._uuids: set[str] = set()
        self._parts: dict[str, list[str]] = {}

    def apply(self, message: StateAppended) -> None:
        """Take in one message; a batch counts once all its parts are there."""
        parts = self._parts.setdefault(message.batch, [])
        if message.part != len(parts):
            return
        parts.append(message.entries)
        if len(parts) == message.parts:
            del self._parts[message.batch]
            self._belongs_to(message.agent, message.conversation or self.conversation)
            self.told = message.told
            entries = _entries("".join(parts))
            self.add(message.subpath, self.new_of(entries))

    def _belongs_to(self, agent: str, conversation: str) -> None:
        if (agent, conversation) != (self.agent, self.conversation):
            self.entries, self._uuids = {}, set()
        self.agent, self.conversation = agent, conversation

    def new_of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return those of `entries` whose `uuid` is not there yet; entries without one are always new."""
        return [entry for entry in entries if _uuid(entry) not in self._uuids]

    def add(self, subpath: str, entries: Sequence[Entry]) -> None:
        """Add entries that are stored."""
        self.entries.setdefault(subpath, []).extend(entries)
        self._uuids.update(filter(None, map(_uuid, entries)))


async def restore(bus: Bus, archived: Archived, claimed: int, follows: int) -> Conversations:
    """Read a session's conversations: what is `archived` of its state first, then the stream from the archive's position.

    Complete is what goes as far as the reader's own claim, at sequence `claimed`; it `follows` another holder's `out`, or
    none (0), and then the stream holds no conversation either.
    Raises `Unavailable` when the archive does not answer, and `Unreadable`.
    """
    found = Conversations()
    await archived.read()
    payloads = [bytes(record.payload) for record in archived.records]
    if follows:
        payloads += await _stored(bus, archived.key, archived.through, claimed)
    try:
        for payload in payloads:
            found.apply(StateAppended.decode(payload))
    except (ValueError, RecursionError) as e:
        raise Unreadable("The agent's stored conversation cannot be read.") from e
    return found


async def _stored(bus: Bus, key: SessionKey, after: int, claimed: int) -> list[bytes]:
    state, out = f"session.{key}.state", f"session.{key}.out"
    stream = await read(
        bus, "SESSIONS", [state, out], after=after, through=claimed, patience=PATIENCE_SECONDS
    )
    return [delivery.data for delivery in stream if delivery.subject == state]


class LogStateStore:
    """The agents' `StateStore` on the session's log. `told` marks what instructions the agent has, as it is stored next."""

    def __init__(self, bus: Bus, log: SessionLog, agent: str, restored: Conversations) -> None:
        self._bus = bus
        self._log = log
        self._agent = agent
        self._known = restored if restored.agent == agent else Conversations()
        self.conversation, self.told = self._known.conversation, self._known.told

    @property
    def told_for_good(self) -> str | None:
        """What instructions the stored conversation has, None where nobody noted it."""
        return self._known.told

    async def append(self, subpath: str, entries: Sequence[Entry]) -> None:
        """Store `entries` durably; waits out a broker that is away. Raises `LeaseLost`."""
        new = self._known.new_of(entries)
        if not new:
            return
        batch, told = self._bus.new_id(), self.told
        # Before it is split, so that no border runs through a secret.
        parts = _split(json.dumps(self._log.redaction.json(new), separators=(",", ":")))
        for number, part in enumerate(parts):
            await self._log.state(
                StateAppended(
                    batch=batch,
                    entries=part,
                    agent=self._agent,
                    conversation=self.conversation,
                    subpath=subpath,
                    part=number,
                    parts=len(parts),
                    told=told,
                )
            )
        self._known.add(subpath, new)
        self._known.told = told

    async def load(self, subpath: str) -> list[Entry] | None:
        """Return all entries of `subpath`, or None when there never was one."""
        return self._known.entries.get(subpath)

    async def subpaths(self) -> list[str]:
        """Return every subpath that has entries."""
        return list(self._known.entries)


def _uuid(entry: Entry) -> str | None:
    uuid = entry.get("uuid")
    return uuid if isinstance(uuid, str) else None


def _entries(text: str) -> list[Entry]:
    # Half of a surrogate pair is legal in an agent's JSON, and msgspec refuses it.
    return msgspec.convert(json.loads(text), type=list[dict[str, Any]])


def _split(text: str) -> list[str]:
    return [text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)]
