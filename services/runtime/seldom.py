"""What anybody may cause at any rate is told seldom, so that the log stays readable, and its disk free."""

import time

SECONDS = 1.0


class Seldom:
    """Lets through one in `seconds`; `others` tells how many were not since the one before."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._count = 0
        self.others = 0

    def due(self) -> bool:
        """Tell whether this one is let through."""
        now = time.monotonic()
        if now < self._next:
            self._count += 1
            return False
        self._next = now + self._seconds
        self.others, self._count = self._count, 0
        return True
