"""What the archiver decides: when a session is due, and what may leave the stream. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from schemas.buckets import Turns
from schemas.keys import SessionKey
from services.archiver.backend import MAX_OBJECT

FILLER = SessionKey("threadmill", "archiver", "filler")
"""No session: its messages only fill sequences that the archive has used before."""


def session_of(subject: str) -> SessionKey:
    """Return the session of `session.<key>.<leaf>...`. Raises `InvalidKey`."""
    return SessionKey.parse(".".join(subject.split(".")[1:4]))


def leaf_of(subject: str) -> str:
    """Return what follows the session in a subject: `in`, `control`, `out`, `end` or `state`; empty where nothing does."""
    return next(iter(subject.split(".")[4:5]), "")


class Backlog(msgspec.Struct):
    """What is heard of a session and not archived yet. `since` on the monotonic clock, `size` in bytes."""

    since: float
    through: int = 0
    size: int = 0
    ended: bool = False

    def heard(self, subject: str, sequence: int, size: int) -> None:
        """Take note of one event."""
        self.through = max(self.through, sequence)
        self.size += size
        self.ended = self.ended or leaf_of(subject) == "end"

    @property
    def due(self) -> bool:
        """Whether an object is to be written without waiting for more."""
        return self.ended or self.size >= MAX_OBJECT


def purge_before(archived: int, old: int, turns: Turns | None, floors: Sequence[int]) -> int:
    """Return the sequence before which a session's events may leave the stream.

    `archived` is the last archived sequence, `old` the first that is too young, `floors` what each consumer is done with.
    """
    needed = _needed(turns) if turns else []
    return min([archived + 1, old, *needed, *(floor + 1 for floor in floors)])


def _needed(turns: Turns) -> Iterable[int]:
    opened = [turns.open.turn] if turns.open else []
    return [*opened, *(waiting.sequence for waiting in turns.waiting)]
