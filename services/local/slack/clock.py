"""Time as the simulator sees it: wall time, with Slack's long waits made shorter where a test asks for it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, and waits. A test may put its own in place."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def after(self, seconds: float) -> float:
        """The moment at which a wait of `seconds` of Slack's time that starts now is over."""

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of Slack's time."""


class ScaledClock:
    """Wall time whose waits are multiplied by `scale`: 1 is Slack's own pace, 0.001 makes a minute 60 ms."""

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError(f"The time scale must be above 0, not {scale}.")
        self._scale = scale

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def after(self, seconds: float) -> float:
        """The moment at which a scaled wait of `seconds` is over."""
        return time.time() + seconds * self._scale

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` times the scale."""
        await asyncio.sleep(seconds * self._scale)
