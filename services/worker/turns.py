"""The turns of one session on this worker, one after the other: the assigned one, then whatever is said next."""

import asyncio
import contextlib
from datetime import UTC, datetime

from schemas.base import MalformedMessage
from schemas.ends import TurnEnd
from schemas.events import EVENTS, Notice, Paused, Phases
from schemas.live import Status
from schemas.work import Admission, Assignment, NotNow
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.worker.admission import Asker
from services.worker.core import Attempted, Waiting
from services.worker.happenings import Admitted, Logged
from services.worker.place import Place
from services.worker.settings import TurnLimits
from services.worker.turn import Turn

SAVE_AGAIN_SECONDS = 30.0


class Turns:
    """Works on one turn at a time; `draining` lets no other begin."""

    def __init__(self, bus: Bus, place: Place, assignment: Assignment, idle_seconds: float) -> None:
        self._bus = bus
        self._place = place
        self._view = place.view
        self._line = place.line
        self._assignment = assignment
        self._idle_seconds = idle_seconds
        self._taken_at = datetime.now(UTC)
        self._asker = Asker(bus, place.log.key, place.line)
        self.draining = False

    @property
    def wanted(self) -> bool:
        """Whether there is a turn to be opened, and this worker may."""
        return not (self.draining or self._view.closed) and self._view.next_turn() is not None

    async def stop(self) -> None:
        """Leave nothing running."""
        await self._asker.stop()

    async def first(self) -> None:
        """Work on the turn that was assigned, unless it has ended."""
        turn, assignment, view = self._assignment.turn, self._assignment, self._view
        if not view.is_open(turn):
            return
        before = await self._attempted(turn) if self._place.log.follows > turn else Attempted()
        self._place.station.learn_branch(view.branch or before.branch)
        for sequence in before.taken:
            view.take(sequence)
        if before.finished:
            view.take(turn)
            view.told_pause()  # by the end that is still to be read
            return
        limits = TurnLimits(seconds=assignment.turn_seconds, max_budget_usd=assignment.max_budget_usd)
        since = assignment.input_at or assignment.issued_at
        phases = Phases(
            queued=round((assignment.issued_at - since).total_seconds() * 1000),
            launched=round((self._taken_at - assignment.issued_at).total_seconds() * 1000),
        )
        if assignment.trouble:
            await self._place.log.event(Notice(turn=turn, level="warning", text=assignment.trouble))
        opener = Waiting(turn, view.said[turn], assignment.opened_after)
        await Turn(self._place, opener, limits, assignment.attempt, before).run(phases)

    async def _attempted(self, turn: int) -> Attempted:
        attempted = Attempted()
        log = self._place.log
        out = f"session.{log.key}.out"
        for delivery in await read(self._bus, "SESSIONS", [out], after=turn, through=log.claimed):
            with contextlib.suppress(
                MalformedMessage
            ):  # what cannot be read now could not be read by anybody
                attempted = attempted.after(EVENTS.decode(delivery.data), turn)
        return attempted

    async def others(self) -> None:
        """Work on what is said from now on, until the session is idle, closed, or has to go."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._idle_seconds
        while not (self.draining or self._view.closed):
            opener = self._view.next_turn()
            if not self._asker.busy:
                await self._ask_or_tell(opener)
            if not await self._between_turns(until) and not self._asker.busy:
                return
            if opener is not None or self._asker.busy:
                until = loop.time() + self._idle_seconds

    async def _ask_or_tell(self, opener: Waiting | None) -> None:
        if opener is not None:
            self._asker.ask(opener)
        else:
            await self.tell_pause()

    async def tell_pause(self) -> None:
        """Say that what was said waits, where no end says so: whoever stopped it may not know that there was no turn."""
        if self._view.pause_untold and not self.draining:
            self._view.told_pause()
            await self._place.log.event(Paused())

    async def _between_turns(self, until: float) -> bool:
        """React to the next happening; False when there is none by `until`."""
        loop, saving = asyncio.get_running_loop(), self._place.station.saving
        try:
            async with asyncio.timeout_at(min(until, loop.time() + SAVE_AGAIN_SECONDS)):
                happening = await self._line.next()
        except TimeoutError:
            if saving.unsaved:
                saving.goes_on(asyncio.create_task(saving.again(self._place.station.work)))
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
        if isinstance(admission, NotNow):
            return
        if admission is None:
            # Only a word tells that no turn is open by now: it is asked for again, whatever was pressed meanwhile.
            self._asker.ask(Waiting(answer.turn, said))
            text = "is waiting for the scheduler..."
            self._place.log.live(Status(lease=self._place.log.lease, turn=answer.turn, text=text))
        elif admission.admitted:
            await self._open(Waiting(answer.turn, said, admission.opened_after), admission)
        else:
            await self._reject(Waiting(answer.turn, said), admission)

    async def _open(self, opener: Waiting, admission: Admission) -> None:
        limits = TurnLimits(seconds=admission.turn_seconds, max_budget_usd=admission.max_budget_usd)
        self._place.warm = True
        self._place.station.instructions = admission.instructions
        self._place.station.learn_branch(self._view.branch)
        await Turn(self._place, opener, limits, admission.attempt, Attempted()).run(Phases())

    async def _reject(self, opener: Waiting, admission: Admission) -> None:
        end = TurnEnd(
            turn=opener.sequence,
            outcome="rejected",
            inputs=(opener.sequence,),
            user=opener.said.user,
            reason=admission.reason,
            retry_at=admission.retry_at,
        )
        self._view.written(await self._place.log.end(end), end)
