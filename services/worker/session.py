"""One session on this worker: claimed, caught up with, turn after turn, until idle, handed over or lost."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import structlog

from schemas.ends import TurnEnd
from schemas.events import EVENTS, HandedOver, Phases
from schemas.live import Status
from schemas.work import Admission
from services.runtime.bus import Bus
from services.runtime.files import FileBucket
from services.runtime.follow import read
from services.runtime.lifecycle import cancel
from services.worker.admission import Asker
from services.worker.assignment import Taken
from services.worker.core import Attempted, SessionView, Waiting
from services.worker.happenings import Admitted, DrainAsked, Logged
from services.worker.hearing import Hearing
from services.worker.lease import LeaseLost
from services.worker.line import Line
from services.worker.place import Place
from services.worker.resources import sample_for_ever
from services.worker.saving import Saving
from services.worker.session_log import SessionLog
from services.worker.settings import TurnLimits, WorkerSettings
from services.worker.station import Station
from services.worker.tools import Tools
from services.worker.turn import Turn

log = structlog.get_logger(__name__)

SAVE_AGAIN_SECONDS = 30.0


class Session:
    """The session of one assignment."""

    def __init__(self, bus: Bus, settings: WorkerSettings, taken: Taken, *, warm: bool) -> None:
        self._bus = bus
        self._settings = settings
        self._assignment = taken.assignment
        self._delivery = taken.delivery
        self._lease = taken.lease
        self._key = taken.assignment.key
        self._taken_at = datetime.now(UTC)
        self._draining = False
        self._place = self._make_place(warm)
        self._view = self._place.view
        self._line = self._place.line
        self._hearing = Hearing(bus, self._key, self._line.report)
        self._asker = Asker(bus, self._key, self._line)

    def _make_place(self, warm: bool) -> Place:
        session_log, line = SessionLog(self._bus, self._key), Line()
        fence = self._lease.fresh
        saving = Saving(session_log, lambda: fence() and not session_log.lost.is_set())
        files = FileBucket(self._bus.client, "files")
        return Place(
            log=session_log,
            line=line,
            view=SessionView(),
            files=files,
            worker=self._settings.worker,
            agent_name=self._assignment.agent or self._settings.agent,
            warm=warm,
            repo=self._assignment.repo,
            station=Station(self._bus, self._settings, session_log, line, saving),
            tools=Tools(self._key, session_log, files, self._folder, self._bus.new_id),
        )

    def _folder(self) -> Path | None:
        workspace = self._place.station.workspace
        return workspace.path if workspace else None

    def drain(self) -> None:
        """Save, hand over and release as soon as can be."""
        self._draining = True
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
        except Exception:
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
        tasks = [asyncio.create_task(each) for each in (self._hearing.run(), self._lost(), self._work())]
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
        await station.saving.aside(station.workspace)

    async def _work(self) -> None:
        follows = await self._place.log.claim(
            self._settings.worker, self._lease.token, self._assignment.attempt, self._lease.fresh
        )
        # Nobody can have ended the turn since the lease is ours: what was told before the claim is still true.
        await self._hearing.caught_up.wait()
        self._catch_up()
        await self._delivery.ack()
        sampling = asyncio.create_task(
            sample_for_ever(self._place.log, self._settings.data), name="resources"
        )
        try:
            await self._first_turn(follows)
            await self._more_turns()
            await self._place.station.end_agent()
            await self._place.station.saving.again(self._place.station.workspace)
        finally:
            await self._asker.stop()
            await cancel(sampling)

    def _catch_up(self) -> None:
        for happening in self._line.clear():
            if isinstance(happening, Logged):
                self._view.apply(happening.sequence, happening.message)
            elif isinstance(happening, DrainAsked):
                self._line.report(happening)

    # --- turns ---------------------------------------------------------------------------------------------------

    async def _first_turn(self, follows: int) -> None:
        turn, assignment, view = self._assignment.turn, self._assignment, self._view
        if not view.is_open(turn):
            return
        before = await self._attempted(turn) if follows > turn else Attempted()
        for sequence in before.taken:
            view.take(sequence)
        limits = TurnLimits(seconds=assignment.turn_seconds, max_budget_usd=assignment.max_budget_usd)
        since = assignment.input_at or assignment.issued_at
        phases = Phases(
            queued=round((assignment.issued_at - since).total_seconds() * 1000),
            launched=round((self._taken_at - assignment.issued_at).total_seconds() * 1000),
        )
        opener = Waiting(turn, view.said[turn])
        await self._run_turn(Turn(self._place, opener, limits, assignment.attempt, before), phases)

    async def _attempted(self, turn: int) -> Attempted:
        attempted = Attempted()
        for delivery in await read(self._bus, "SESSIONS", [f"session.{self._key}.out"], after=turn):
            attempted = attempted.after(EVENTS.decode(delivery.data), turn)
        return attempted

    async def _run_turn(self, turn: Turn, phases: Phases) -> None:
        if not await turn.run(phases):
            await self._place.log.event(HandedOver(turn=turn.id, reason="the worker has to go"))

    async def _more_turns(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.idle_seconds
        while not (self._draining or self._view.closed):
            opener = self._view.next_turn()
            if opener is not None and not self._asker.busy:
                self._asker.ask(opener)
            if not await self._between_turns(until) and not self._asker.busy:
                return
            if opener is not None:
                until = loop.time() + self._settings.idle_seconds

    async def _between_turns(self, until: float) -> bool:
        """React to the next happening; False when there is none by `until`."""
        loop, saving = asyncio.get_running_loop(), self._place.station.saving
        try:
            async with asyncio.timeout_at(min(until, loop.time() + SAVE_AGAIN_SECONDS)):
                happening = await self._line.next()
        except TimeoutError:
            if saving.unsaved:
                saving.goes_on(asyncio.create_task(saving.again(self._place.station.workspace)))
            return loop.time() < until
        match happening:
            case Logged():
                self._view.apply(happening.sequence, happening.message)
            case Admitted():
                await self._admitted(happening)
        return True

    async def _admitted(self, answer: Admitted) -> None:
        self._asker.answered()
        said, admission = self._view.said.get(answer.turn), answer.admission
        if said is None or not self._view.is_open(answer.turn):
            return
        if admission is None:
            text = "is waiting for the scheduler..."
            self._place.log.live(Status(lease=self._place.log.lease, turn=answer.turn, text=text))
        elif admission.admitted:
            await self._open(Waiting(answer.turn, said), admission)
        else:
            await self._reject(Waiting(answer.turn, said), admission)

    async def _open(self, opener: Waiting, admission: Admission) -> None:
        limits = TurnLimits(seconds=admission.turn_seconds, max_budget_usd=admission.max_budget_usd)
        self._place.warm = True
        await self._run_turn(Turn(self._place, opener, limits, admission.attempt, Attempted()), Phases())

    async def _reject(self, opener: Waiting, admission: Admission) -> None:
        end = TurnEnd(
            turn=opener.sequence,
            outcome="rejected",
            inputs=(opener.sequence,),
            user=opener.said.user,
            reason=admission.reason,
            retry_at=admission.retry_at,
        )
        self._view.apply(await self._place.log.end(end), end)
