"""The line of happenings: one at a time, in order; what cannot wait goes ahead, and an agent's flood is held back."""

import asyncio
import itertools

from services.worker.happenings import (
    DeadlineNear,
    DeadlinePassed,
    DrainAsked,
    Happening,
    PatienceOver,
    Prepared,
    Said,
    Saved,
    StopHeard,
)

URGENT = (StopHeard, DrainAsked, DeadlinePassed, PatienceOver)
OF_ONE_TURN = (DeadlineNear, DeadlinePassed, PatienceOver, Prepared, Saved)
# What an agent may have in the line before its reader waits.
MOST_SAID = 1000


class Line:
    """Happenings of one session on their way to whatever reacts to them."""

    def __init__(self) -> None:
        self._queue: asyncio.PriorityQueue[tuple[bool, int, Happening]] = asyncio.PriorityQueue()
        self._numbers = itertools.count()
        self._room = asyncio.Semaphore(MOST_SAID)

    def report(self, happening: Happening) -> None:
        """Put `happening` at the end of the line, or ahead of all that can wait."""
        self._queue.put_nowait((not isinstance(happening, URGENT), next(self._numbers), happening))

    async def offer(self, said: Said) -> None:
        """Put what the agent said into the line, waiting while it has too much there already."""
        await self._room.acquire()
        self.report(said)

    async def next(self) -> Happening:
        """Take the next happening, waiting for one."""
        return self._taken(await self._queue.get())

    def clear(self) -> list[Happening]:
        """Take out and return everything that is in the line now."""
        return [self._taken(self._queue.get_nowait()) for _ in range(self._queue.qsize())]

    def forget_turn(self) -> None:
        """Drop what was reported for a turn that is over, so that it cannot hit the next one."""
        entries = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        for entry in entries:
            if not isinstance(entry[2], OF_ONE_TURN):
                self._queue.put_nowait(entry)

    def _taken(self, entry: tuple[bool, int, Happening]) -> Happening:
        happening = entry[2]
        if isinstance(happening, Said):
            self._room.release()
        return happening
