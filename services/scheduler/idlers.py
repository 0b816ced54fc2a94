"""Workers that take no work: whoever let a start pass is looked at once more before it is ended, and others come instead."""

import asyncio

import structlog

from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.grants import Grants
from services.scheduler.hiring import Hiring
from services.scheduler.roster import Roster

log = structlog.get_logger(__name__)

# On a busy node seconds pass between a worker's Pod running and its hearing of work.
SECOND_LOOK_SECONDS = 5.0


class Idlers:
    """Finds them in `roster`, and ends those that wait by themselves still at the second look."""

    def __init__(self, roster: Roster, grants: Grants, hiring: Hiring) -> None:
        self._roster = roster
        self._grants = grants
        self._hiring = hiring
        self._suspects: asyncio.Queue[tuple[SessionKey, str]] = asyncio.Queue()

    def look(self, key: SessionKey, turn: OpenTurn, taken_by: str = "") -> None:
        """Suspect those that were there for the start of `turn`, which `taken_by` took later, or nobody did."""
        for name in sorted(self._roster.idlers(key, turn, taken_by)):
            self._suspects.put_nowait((key, name))

    async def run(self) -> None:
        """End them, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._look_again(*await self._suspects.get()))

    async def _look_again(self, key: SessionKey, name: str) -> None:
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        try:
            session = await self._grants.of(name)
        except Unavailable:
            self._suspects.put_nowait((key, name))
            return
        # Whoever was let into another session is about to take its lease.
        if session in {None, str(key)} and name in self._roster.spare():
            log.warning("a worker that takes no work is ended", worker=name, session=str(key))
            await self._hiring.let_go([name], at_once=True)
