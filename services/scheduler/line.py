"""The line for a free worker: turns in the order in which they were said, each thread told where it stands."""

from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from schemas.live import Live, Status
from services.runtime.bus import Bus
from services.scheduler.capacity import waiting_text
from services.scheduler.metrics import LINE


class Line:
    """The turns that wait for a worker."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._turns: dict[SessionKey, OpenTurn] = {}
        self._told: dict[SessionKey, int] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def first(self, count: int) -> list[SessionKey]:
        """Return the sessions at the head of the line."""
        return sorted(self._turns, key=lambda key: self._turns[key].turn)[:count]

    def is_ahead(self, turn: int) -> bool:
        """Tell whether somebody stands in line before `turn`."""
        return any(other.turn < turn for other in self._turns.values())

    def join(self, key: SessionKey, turn: OpenTurn) -> None:
        """Let `turn` stand in line."""
        known = self._turns.get(key)
        self._turns[key] = turn
        if known is None or known.turn != turn.turn:
            self._tell()

    def leave(self, key: SessionKey) -> None:
        """Take the session out of the line; whoever stood behind it moves up."""
        if self._turns.pop(key, None) is not None:
            self._told.pop(key, None)
            self._tell()

    def _tell(self) -> None:
        LINE.set(len(self._turns))
        for place, key in enumerate(self.first(len(self._turns)), start=1):
            if self._told.get(key) != place:
                self._told[key] = place
                turn = self._turns[key]
                status = Status(lease=turn.lost, turn=turn.turn, text=waiting_text(place))
                self._bus.live(Live.subject(key), status)
