"""One session on this worker: claimed, caught up with, turn after turn, until idle, handed over or lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import structlog
from nats.aio.msg import Msg

from schemas.base import MalformedMessage, Message, Unknown
from schemas.ends import ENDS, TurnEnd
from schemas.events import EVENTS, HandedOver, Phases
from schemas.inputs import CONTROLS, INPUTS
from schemas.work import Admission, Admit
from services.runtime.bus import Bus
from services.runtime.files import FileBucket
from services.runtime.follow import Follow, read
from services.runtime.lifecycle import cancel
from services.runtime.pull import Delivery
from services.worker.assignment import Taken
from services.worker.core import Attempted, SessionView, Waiting
from services.worker.happenings import DrainAsked, Logged, StopHeard
from services.worker.place import Place
from services.worker.resources import sample_for_ever
from services.worker.session_log import SessionLog
from services.worker.settings import TurnLimits, WorkerSettings
from services.worker.station import Station
from services.worker.tools import Tools
from services.worker.turn import Turn

log = structlog.get_logger(__name__)

FAMILIES = {"in": INPUTS, "control": CONTROLS, "end": ENDS}
ADMIT_SECONDS = 10.0


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

    def _make_place(self, warm: bool) -> Place:
        session_log = SessionLog(self._bus, self._key)
        place = Place(
            log=session_log,
            view=SessionView(),
            files=FileBucket(self._bus.client, "files"),
            worker=self._settings.worker,
            agent_name=self._assignment.agent or self._settings.agent,
            warm=warm,
            repo=self._assignment.repo,
            fence=self._lease.fresh,
        )
        place.station = Station(self._bus, self._settings, self._key, session_log, place.report)
        place.tools = Tools(self._key, session_log, place.files, self._folder, self._bus.new_id)
        return place

    def _folder(self) -> Path | None:
        workspace = self._place.station.workspace
        return workspace.path if workspace else None

    def drain(self) -> None:
        """Save, hand over and release as soon as can be."""
        self._draining = True
        self._place.report(DrainAsked())

    async def run(self) -> None:
        """Work until the session is idle, closed, or handed over. Raises `LeaseLost`."""
        renewing = asyncio.create_task(self._lease.renew_for_ever(), name="lease")
        working = asyncio.create_task(self._work(), name="work")
        try:
            await asyncio.wait([renewing, working], return_when=asyncio.FIRST_COMPLETED)
            (renewing if renewing.done() else working).result()
        finally:
            await cancel(working)
            await self._place.station.close()
            await cancel(renewing)
            await self._lease.release()

    async def _work(self) -> None:
        follows = await self._place.log.claim(
            self._settings.worker, self._lease.token, self._assignment.attempt, self._lease.fresh
        )
        async with self._hearing() as caught_up:
            await caught_up.wait()
            await self._catch_up()
            await self._delivery.ack()
            sampling = asyncio.create_task(
                sample_for_ever(self._place.log, self._settings.data), name="resources"
            )
            try:
                await self._first_turn(follows)
                await self._more_turns()
            finally:
                await cancel(sampling)

    # --- hearing -------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _hearing(self) -> AsyncIterator[asyncio.Event]:
        """Feed the line of happenings from the log, and stops ahead of it; the event is set once caught up."""
        caught_up = asyncio.Event()
        control = await self._bus.client.subscribe(f"session.{self._key}.control", cb=self._heard)
        following = asyncio.create_task(self._follow(caught_up), name="follow")
        try:
            yield caught_up
        finally:
            await cancel(following)
            if not self._bus.client.is_closed:
                await control.unsubscribe()

    async def _heard(self, _: Msg) -> None:
        self._place.report(StopHeard())

    async def _follow(self, caught_up: asyncio.Event) -> None:
        filters = [f"session.{self._key}.{leaf}" for leaf in ("in.*", "control", "end.*")]
        async for delivery in Follow(self._bus, "SESSIONS", filters).deliveries():
            if delivery is None:
                caught_up.set()
            elif message := _decode(delivery):
                self._place.report(Logged(delivery.sequence, message))

    async def _catch_up(self) -> None:
        queue = self._place.happenings
        for _ in range(queue.qsize()):
            happening = queue.get_nowait()
            if isinstance(happening, Logged):
                self._place.view.apply(happening.sequence, happening.message)
            elif isinstance(happening, DrainAsked):
                queue.put_nowait(happening)

    # --- turns ---------------------------------------------------------------------------------------------------

    async def _first_turn(self, follows: int) -> None:
        turn, assignment, view = self._assignment.turn, self._assignment, self._place.view
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
        while not (self._draining or self._place.view.closed):
            opener = self._place.view.next_turn()
            if opener is not None:
                await self._next_turn(opener)
            elif not await self._wait():
                return

    async def _wait(self) -> bool:
        """Wait for something new; False when the session is idle for too long."""
        try:
            async with asyncio.timeout(self._settings.idle_seconds):
                happening = await self._place.next()
        except TimeoutError:
            return False
        if isinstance(happening, Logged):
            self._place.view.apply(happening.sequence, happening.message)
        return True

    async def _next_turn(self, opener: Waiting) -> None:
        request = Admit(session=str(self._key), turn=opener.sequence, user=opener.said.user)
        admission = Admission.decode(
            await self._bus.request(Admit.subject(), request, deadline=ADMIT_SECONDS)
        )
        if not admission.admitted:
            await self._reject(opener, admission)
            return
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
        await self._place.log.end(end)
        self._place.view.apply(opener.sequence, end)


def _decode(delivery: Delivery) -> Message | Unknown | None:
    leaf = delivery.subject.split(".")[4]
    try:
        return FAMILIES[leaf].decode(delivery.data)
    except MalformedMessage as e:
        log.warning("passed over", subject=delivery.subject, sequence=delivery.sequence, error=str(e))
        return None
