"""Workers that take no work: whoever let a start pass is ended, and others come instead; one that may only be slow is looked at twice."""

import asyncio

import structlog

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.grants import Grants
from services.scheduler.hiring import Hiring
from services.scheduler.leases import Leases
from services.scheduler.roster import Roster

log = structlog.get_logger(__name__)

# On a busy node seconds pass between a worker's Pod running and its hearing of work.
SECOND_LOOK_SECONDS = 5.0


class Idlers:
    """Finds them in `roster`. Where the broker was away meanwhile nobody is blamed: the next start that they let pass tells."""

    def __init__(self, roster: Roster, *, leases: Leases, grants: Grants, hiring: Hiring) -> None:
        self._roster = roster
        self._leases = leases
        self._grants = grants
        self._hiring = hiring
        self._suspects: asyncio.Queue[tuple[SessionKey, str, float]] = asyncio.Queue()
        self._suspected: set[str] = set()

    def suspect(self, key: SessionKey, turn: OpenTurn, taken_by: str = "") -> None:
        """Suspect those that were there for the start of `turn`, which `taken_by` took later, or nobody in all its time."""
        patience = SECOND_LOOK_SECONDS if taken_by else 0.0
        for name in sorted(self._roster.idlers(key, turn, taken_by) - self._suspected):
            self._suspected.add(name)
            self._suspects.put_nowait((key, name, patience))

    async def run(self) -> None:
        """Judge them, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._judge(*await self._suspects.get()), name="idler")

    async def _judge(self, key: SessionKey, name: str, patience: float) -> None:
        try:
            if await self._still_waits(key, name, patience):
                log.warning("a worker that takes no work is ended", worker=name, session=str(key))
                await self._hiring.let_go([name], at_once=True)
        except Unavailable as e:
            log.info("a worker that takes no work is not known to", worker=name, error=str(e))
        finally:
            self._suspected.discard(name)

    async def _still_waits(self, key: SessionKey, name: str, patience: float) -> bool:
        """Tell whether it is where it was after `patience` seconds: in no session, or stuck on its way into this one."""
        first_look, session = now(), await self._grants.of(name)
        if session not in {None, str(key)}:
            return False
        await asyncio.sleep(patience)
        # Whoever was let into a session meanwhile is about to take its lease.
        unmoved = await self._grants.of(name) == session
        return unmoved and name in self._roster.spare() and not self._leases.missed_since(first_look)
