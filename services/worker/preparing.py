"""Making workspace and agent ready for a turn, beside it: `Prepared` comes down the line."""

import asyncio

import msgspec
import structlog

from schemas.events import Phases, TurnStarted
from schemas.live import Status
from services.runtime.tasks import cancel
from services.worker.core import Waiting
from services.worker.happenings import Prepared
from services.worker.lease import LeaseLost
from services.worker.place import Place
from services.worker.settings import TurnLimits
from services.worker.station import NotReady

log = structlog.get_logger(__name__)


class Preparing:
    """Prepares for the turn that `opener` opened. `phases` tell where the time went, more with each step."""

    def __init__(self, place: Place, opener: Waiting, limits: TurnLimits) -> None:
        self._place = place
        self._opener = opener
        self._limits = limits
        self._task: asyncio.Task[None] | None = None
        self.phases = Phases()

    def start(self, spent_usd: float) -> None:
        """Begin, or begin again, after the turn has cost `spent_usd`."""
        limits = msgspec.structs.replace(self._limits, spent_usd=spent_usd)
        self._task = asyncio.create_task(self._make_ready(limits), name="prepare")

    async def stop(self) -> None:
        """Prepare nothing more; what is half done is gone on with the next time."""
        if self._task:
            await cancel(self._task)

    def started(self, attempt: int) -> TurnStarted:
        """Return the event that tells that the agent works."""
        place = self._place
        return TurnStarted(
            attempt=attempt,
            worker=place.worker,
            agent=place.agent_name,
            resumed=place.station.resumed,
            warm=place.warm,
            phases=self.phases,
            branch=place.station.branch,
        )

    def _status(self, text: str) -> None:
        status = Status(lease=self._place.log.lease, turn=self._opener.sequence, text=text[:200])
        self._place.log.live(status)

    async def _make_ready(self, limits: TurnLimits) -> None:
        place = self._place
        try:
            took = await place.station.prepare(self._opener, limits, place.tools, self._status)
        except NotReady as e:
            place.line.report(Prepared(problem=str(e)))
        except LeaseLost:
            return  # the session is told by the log
        except Exception as e:  # whatever it is, the turn must not wait for its deadline
            log.exception(
                "the turn could not be prepared", session=str(place.log.key), turn=self._opener.sequence
            )
            place.line.report(Prepared(problem=f"The worker could not be prepared ({type(e).__name__})."))
        else:
            self.phases = msgspec.structs.replace(self.phases, workspace=took.workspace, agent=took.agent)
            place.line.report(Prepared())
