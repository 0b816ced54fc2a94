"""The place in the log up to which everything is shown. Pure."""

from collections.abc import Callable
from functools import partial


class Holds:
    """Which sequences are not fully shown yet."""

    def __init__(self, position: int) -> None:
        self._passed = position
        self._held: dict[int, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    @property
    def position(self) -> int:
        """Everything up to here is fully shown."""
        return min(self._held) - 1 if self._held else self._passed

    def hold(self, sequence: int) -> Callable[[], None]:
        """Keep the position below `sequence` until the returned function is called."""
        self._held[sequence] = self._held.get(sequence, 0) + 1
        self._passed = max(self._passed, sequence)
        return partial(self._release, sequence)

    def passed(self, sequence: int) -> None:
        """Nothing up to `sequence` is left to take."""
        self._passed = max(self._passed, sequence)

    def _release(self, sequence: int) -> None:
        self._held[sequence] -= 1
        if not self._held[sequence]:
            del self._held[sequence]
