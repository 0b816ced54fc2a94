"""One session on this worker: claimed, caught up with, turn after turn, until idle, handed over or lost."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from services.runtime.bus import Bus
from services.runtime.files import Files
from services.runtime.redact import Redaction
from services.runtime.tasks import cancel
from services.worker.about import about
from services.worker.considering import Taken
from services.worker.core import SessionView
from services.worker.happenings import DrainAsked, Logged
from services.worker.hearing import Hearing
from services.worker.lease import LeaseLost
from services.worker.line import Line
from services.worker.opening import Opening
from services.worker.place import Place
from services.worker.resources import sample_for_ever
from services.worker.saving import Saving
from services.worker.session_log import SessionLog
from services.worker.settings import WorkerSettings
from services.worker.station import Station
from services.worker.tools import Tools
from services.worker.turns import Turns

log = structlog.get_logger(__name__)

# Nobody looks at what a worker uses before its agent works, and to look at every process takes milliseconds.
SAMPLES_AFTER_SECONDS = 1.0


class Session:
    """The session of one assignment; no agent is started in it before `leave_pool` is done."""

    def __init__(
        self,
        bus: Bus,
        settings: WorkerSettings,
        taken: Taken,
        opening: Opening,
        leave_pool: Callable[[], Awaitable[None]],
        *,
        warm: bool,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._assignment = taken.assignment
        self._opening = opening
        self._leave_pool = leave_pool
        self._lease = taken.lease
        self._key = taken.assignment.key
        self._place = self._make_place(warm)
        self._view = self._place.view
        self._line = self._place.line
        self._hearing = Hearing(bus, self._key, self._line.report)
        self._turns = Turns(bus, self._place, taken.assignment, settings.idle_seconds)

    def _make_place(self, warm: bool) -> Place:
        redaction = Redaction(self._opening.access.secrets(self._settings.repo))
        session_log, line = SessionLog(self._bus, self._key, redaction), Line()
        fence = self._lease.fresh
        saving = Saving(session_log, lambda: fence() and not session_log.lost.is_set())
        files = Files(self._bus)
        return Place(
            log=session_log,
            line=line,
            view=SessionView(),
            files=files,
            worker=self._settings.worker,
            agent_name=self._assignment.agent or self._settings.agent,
            warm=warm,
            station=Station(
                self._bus,
                self._settings,
                session_log,
                line,
                saving=saving,
                assignment=self._assignment,
                opening=self._opening,
            ),
            tools=Tools(
                self._key,
                session_log,
                files,
                folder=self._folder,
                describe=self._about,
                new_id=self._bus.new_id,
            ),
        )

    def _folder(self) -> Path | None:
        workspace = self._place.station.workspace
        return workspace.path if workspace else None

    def _about(self) -> str:
        place = self._place
        left = place.running.clock.seconds_left if place.running else None
        return about(self._key, place.station.workspace, place.view.people.values(), left)

    def drain(self) -> None:
        """Save, hand over and release as soon as can be."""
        self._turns.draining = True
        self._line.report(DrainAsked())

    async def run(self) -> None:
        """Work until the session is idle, closed, or handed over. Raises `LeaseLost`.

        An error that nobody foresaw keeps the lease: it is a death, and counts as an attempt.
        """
        renewing = asyncio.create_task(self._lease.renew_for_ever(self._place.log.unmoved), name="lease")
        orderly = True
        try:
            await self._until_first(renewing)
        except LeaseLost:
            await self._set_aside()
            raise
        except Exception:  # re-raised: only whether it ended in order is noted
            orderly = False
            raise
        finally:
            await self._place.station.close()
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            if orderly:
                await self._lease.release()

    async def _until_first(self, renewing: asyncio.Task[None]) -> None:
        """Work until the work, or what it rests on, has come to its end."""
        tasks = [asyncio.create_task(each) for each in (self._work(), self._hearing.run(), self._lost())]
        try:
            done, _ = await asyncio.wait([renewing, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _lost(self) -> None:
        await self._place.log.lost.wait()
        raise LeaseLost(str(self._key))

    async def _set_aside(self) -> None:
        """Keep the work where the next holder cannot miss it, without a word in the thread."""
        station = self._place.station
        self._place.log.lost.set()
        await station.end_agent()
        await station.saving.settled()
        await station.saving.aside(station.work)

    async def _work(self) -> None:
        claiming = self._place.log.claim(self._lease, self._assignment.attempt)
        await asyncio.gather(claiming, self._leave_pool())
        await self._place.station.begin()
        # A former holder could end the turn until our claim: what is told may lack that, what our claim follows does not.
        await self._hearing.caught_up.wait()
        self._catch_up()
        sampling = asyncio.create_task(self._sample(), name="resources")
        try:
            await self._turns.first()
            await self._place.station.give_up()
            await self._turns.others()
            while await self._saved_and_wanted():
                await self._turns.others()
        finally:
            await self._turns.stop()
            await cancel(sampling)

    async def _sample(self) -> None:
        """Tell what is used, for ever."""
        await asyncio.sleep(SAMPLES_AFTER_SECONDS)
        await sample_for_ever(self._place, self._settings.data)

    async def _saved_and_wanted(self) -> bool:
        """Save what there is; whether somebody said something meanwhile that this worker may still take."""
        await self._place.station.saving.again(self._place.station.work)
        self._catch_up()
        await self._turns.tell_pause()
        return self._turns.wanted

    def _catch_up(self) -> None:
        for happening in self._line.clear():
            if isinstance(happening, Logged):
                self._view.apply(happening.sequence, happening.message)
            elif isinstance(happening, DrainAsked):
                self._line.report(happening)
