"""Who is there: the workers by what they do, the turns that wait for one, and the places that are promised."""

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.scheduler.capacity import Headcount, has_room
from services.scheduler.launcher import Launcher
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories


class Roster:
    """Counts the workers of `launcher`. `used` are those that have had a session: they take no other."""

    def __init__(self, launcher: Launcher, memories: Memories, leases: Leases, most: int) -> None:
        self._launcher = launcher
        self._memories = memories
        self._leases = leases
        self._most = most
        self._published: dict[SessionKey, tuple[int, int]] = {}
        self._reserved: set[SessionKey] = set()
        self.used: set[str] = set()

    def published(self, key: SessionKey, turn: OpenTurn) -> bool:
        """Tell whether this replica published the start of `turn` that is under way."""
        return self._published.get(key) == (turn.turn, turn.start)

    def publish(self, key: SessionKey, turn: OpenTurn) -> None:
        """Note that a start of `turn` was published here."""
        self._published[key] = (turn.turn, turn.start)

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
            most = min(most, count.busy + self._there())
        return has_room(count, most)

    def is_drained(self) -> bool:
        """Tell whether the next start has to wait for a worker that is still to be launched, or to come."""
        return self._there() < self.count().started_here

    def _there(self) -> int:
        return len(self.spare() - set(self._launcher.coming()))

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
