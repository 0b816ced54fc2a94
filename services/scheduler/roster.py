"""Who is there: the workers by what they do, the turns that wait for one, and the places that are promised."""

from datetime import datetime, timedelta

import msgspec

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.scheduler.capacity import Headcount, has_room
from services.scheduler.launcher import Launcher
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories

# Whoever waits takes a start within milliseconds.
TAKES = timedelta(seconds=1)


class Published(msgspec.Struct, frozen=True):
    """A start of a turn that was handed out here, when that was, and who was there to take it."""

    turn: int
    start: int
    at: datetime
    there: frozenset[str]


class Roster:
    """Counts the workers of `launcher`. `used` are those that have had a session: they take no other."""

    def __init__(self, launcher: Launcher, memories: Memories, leases: Leases, most: int) -> None:
        self._launcher = launcher
        self._memories = memories
        self._leases = leases
        self._most = most
        self._published: dict[SessionKey, Published] = {}
        self._reserved: set[SessionKey] = set()
        self.used: set[str] = set()

    def published(self, key: SessionKey, turn: OpenTurn) -> bool:
        """Tell whether this replica published the start of `turn` that is under way."""
        known = self._published.get(key)
        return known is not None and (known.turn, known.start) == (turn.turn, turn.start)

    def publish(self, key: SessionKey, turn: OpenTurn) -> None:
        """Note that a start of `turn` was published here."""
        self._published[key] = Published(turn.turn, turn.start, now(), frozenset(self._there()))

    def idlers(self, key: SessionKey, turn: OpenTurn, taken_by: str) -> set[str]:
        """Return who was there for the start of `turn` and still waits, though another one took it later, or nobody did.

        Where one of them is gone, it may have had the start, and the others were not offered it.
        """
        start = self._published.get(key)
        if start is None or not self.published(key, turn) or taken_by in start.there:
            return set()
        if start.there - set(self._launcher.workers()):
            return set()
        if now() < start.at + TAKES or self._leases.missed_since(start.at):
            return set()
        return self._there() & start.there

    def forget(self, key: SessionKey) -> None:
        """No turn of the session is open."""
        self._published.pop(key, None)

    def reserve(self, key: SessionKey) -> bool:
        """Keep a place for a start of `key` until its memory says so; False when there is none."""
        self._reserved.discard(key)
        if self.has_room():
            self._reserved.add(key)
            return True
        return False

    def release(self, key: SessionKey) -> None:
        """The place is taken by the memory now, or not needed."""
        self._reserved.discard(key)

    def has_room(self) -> bool:
        """Tell whether one more turn may start."""
        count, most = self.count(), self._most
        if self._launcher.is_full():
            # Whoever is there may work; another one may never come.
            most = min(most, count.busy + len(self._there()))
        return has_room(count, most)

    def is_drained(self) -> bool:
        """Tell whether the next start has to wait for a worker that is still to be launched, or to come."""
        return len(self._there()) < self.count().started_here

    def _there(self) -> set[str]:
        return self.spare() - set(self._launcher.coming())

    def count(self) -> Headcount:
        """Return how many do what."""
        holders = self._holders()
        starting, shared = self.starting(), self._launcher.shared
        used = self.used | set(self._launcher.leaving())
        return Headcount(
            busy=len(holders),
            starting=len(self._reserved.union(key for key, _ in starting)),
            started_here=sum(shared or self.published(key, turn) for key, turn in starting),
            spare=len(self.spare()),
            leaving=len((set(self._launcher.workers()) & used) - holders),
        )

    def spare(self) -> set[str]:
        """Return the workers that wait for an assignment, or will."""
        workers, leaving = set(self._launcher.workers()), set(self._launcher.leaving())
        return workers - self.used - self._holders() - leaving

    def _holders(self) -> set[str]:
        return {held.holder for _, held in self._leases.by_workers()}

    def starting(self) -> list[tuple[SessionKey, OpenTurn]]:
        """Return the turns that wait for a worker to take them, with their sessions."""
        return [
            (key, memory.open)
            for key, memory in self._memories.active()
            if memory.open and self._starts(key, memory.open)
        ]

    def _starts(self, key: SessionKey, turn: OpenTurn) -> bool:
        until = turn.starting_until
        return until is not None and until > now() and self._leases.held(key) is None
