"""The times of one turn: its deadline, and how long an ending is waited for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.worker.happenings import DeadlineNear, DeadlinePassed, Happening, PatienceOver

PATIENCE_SECONDS = 0.5
SAVE_BEFORE_STOP_SECONDS = 0.4
WARNING_SECONDS = 300


class Clock:
    """Reports when a time of a turn of `seconds` has come."""

    def __init__(self, seconds: int, report: Callable[[Happening], None]) -> None:
        self.seconds = seconds
        self._report = report
        self._timers: list[asyncio.TimerHandle] = []
        self._until: float | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._moments = 0

    @property
    def seconds_left(self) -> int | None:
        """What is left of the turn's time, None while it does not count."""
        if self._until is None:
            return None
        return max(0, round(self._until - asyncio.get_running_loop().time()))

    def start(self) -> None:
        """Begin to count."""
        self._until = asyncio.get_running_loop().time() + self.seconds
        near = min(WARNING_SECONDS, self.seconds // 5)
        self._timers = [
            self._after(self.seconds - near, DeadlineNear(near)),
            self._after(self.seconds, DeadlinePassed()),
        ]

    def start_patience(self) -> None:
        """Give an interrupted agent its moment."""
        self._be_patient(PATIENCE_SECONDS)

    def start_saving(self) -> None:
        """Give the work a moment to be saved before a stop takes effect."""
        self._be_patient(SAVE_BEFORE_STOP_SECONDS)

    def is_over(self, happening: Happening) -> bool:
        """Whether `happening` ends the moment that was given last; an earlier one's may come behind it."""
        return happening == PatienceOver(self._moments)

    async def patiently(self, act: Coroutine[Any, Any, None]) -> bool:
        """Await `act` for as long as an agent is given; False when it took longer."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await act
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Report nothing more."""
        self._until = None
        for timer in (*self._timers, *([self._patience] if self._patience else [])):
            timer.cancel()

    def _be_patient(self, seconds: float) -> None:
        if self._patience:
            self._patience.cancel()
        self._moments += 1
        self._patience = self._after(seconds, PatienceOver(self._moments))

    def _after(self, seconds: float, happening: Happening) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._report, happening)
