"""One turn: an actor that reacts to one happening after another until the turn has its end. Nothing in it waits long."""

import msgspec
import structlog

from schemas.events import (
    Event,
    HandedOver,
    Notice,
    Outcome,
    Phases,
    QuestionAsked,
)
from schemas.inputs import Answered, Control, Said
from services.worker.agents import protocol
from services.worker.asking import Asking
from services.worker.clock import Clock
from services.worker.closing import Closing
from services.worker.core import Attempted, SessionView, Waiting, prompt_text
from services.worker.feed import Feed
from services.worker.happenings import (
    DeadlineNear,
    DeadlinePassed,
    DrainAsked,
    Happening,
    Logged,
    PatienceOver,
    Prepared,
    StopHeard,
)
from services.worker.happenings import Said as AgentSaid
from services.worker.intake import Intake
from services.worker.narrate import Narrator
from services.worker.place import Place, Running
from services.worker.preparing import Preparing
from services.worker.settings import TurnLimits
from services.worker.tally import WITHDRAWN, Ending, Tally, over_budget, stopped, timed_out

log = structlog.get_logger(__name__)

# An agent that exits by itself is started again this often in one turn.
RESTARTS = 1


class Turn:
    """The turn that `opener` opened, on this worker."""

    def __init__(
        self, place: Place, opener: Waiting, limits: TurnLimits, attempt: int, before: Attempted
    ) -> None:
        self._place = place
        self._view: SessionView = place.view
        self._opener = opener
        self._attempt = attempt
        self._budget_usd = limits.max_budget_usd
        self._before = before
        self._narrator = Narrator(opener.sequence, place.log.redaction, before.texts)
        self._clock = Clock(limits.seconds, place.line.report)
        self._asking = Asking(before.questions, self._write)
        self._feed = Feed(place, self._write)
        self._intake = Intake(opener, before, place.view, self._feed, self._write)
        self._tally = Tally(before)
        self._closing = Closing(place, opener, self._clock)
        self._preparing = Preparing(place, opener, limits)
        self._restarts = 0
        self._ready = False
        self._ending: Ending | None = None
        self._awaits_log = False

    @property
    def id(self) -> int:
        """The sequence of the input that opened it."""
        return self._opener.sequence

    async def run(self, phases: Phases) -> None:
        """Work until the turn has ended or is handed over. Raises `LeaseLost`."""
        self._preparing.phases = phases
        self._ending = self._over_already()
        try:
            if not self._ending:
                self._clock.start()
                self._place.running = Running(self.id, self._clock)
                self._preparing.start(self._tally.cost_usd)
                while not await self._react(await self._place.line.next()):
                    pass
            await self._finish(self._ending or Ending())
        finally:
            self._clock.stop()
            self._place.running = None
            await self._feed.stop()
            await self._preparing.stop()
            self._place.line.forget_turn()

    def _over_already(self) -> Ending | None:
        if stop := self._view.stopped_by(self._opener):
            return stopped(stop, by=stop.user.id)
        return WITHDRAWN if self._view.lacks(self.id) else self._over_budget()

    def _over_budget(self) -> Ending | None:
        if self._budget_usd is None or self._tally.cost_usd < self._budget_usd:
            return None
        return over_budget(self._budget_usd)

    async def _react(self, happening: Happening) -> bool:
        """React; True when nothing is to be waited for any more."""
        match happening:
            case Prepared():
                return await self._begin(happening)
            case AgentSaid() if self._place.station.is_current(happening):
                return await self._agent_did(happening.event)
            case Logged():
                return await self._logged(happening)
            case DeadlineNear(seconds):
                text = f"This turn has {max(1, seconds // 60)} min left."
                await self._write(Notice(level="warning", text=text))
            case PatienceOver():
                self._awaits_log = False
                await self._place.station.end_agent()
                return True
            case StopHeard() | DrainAsked() | DeadlinePassed():
                ending = self._ending_for(happening)
                return ending is not None and await self._wind_up(ending)
        return False

    def _ending_for(self, happening: StopHeard | DrainAsked | DeadlinePassed) -> Ending | None:
        match happening:
            case StopHeard(control):
                if not self._view.may_stop(control, self._opener):
                    return None
                self._awaits_log = True
                return stopped(control)
            case DrainAsked():
                return Ending(handed_over=True)
            case DeadlinePassed():
                return timed_out(self._tally.seconds)

    async def _write(self, *events: Event) -> None:
        await self._place.log.event(*(msgspec.structs.replace(each, turn=self.id) for each in events))

    # --- beginning ---------------------------------------------------------------------------------------------

    async def _begin(self, prepared: Prepared) -> bool:
        agent = self._place.station.agent
        if prepared.problem or agent is None:
            self._ending = self._ending or Ending(outcome="failed", reason=prepared.problem)
        elif self._view.lacks(self.id):
            self._ending = self._ending or WITHDRAWN
        if self._ending or agent is None:
            return self._settled()
        self._ready = True
        late = await self._asking.answered_late(self._view.answers)
        await self._asking.lapse()
        started: tuple[Event, ...] = (self._preparing.started(self._attempt),)
        if late or self._intake.told:
            # No agent gets anything before its start is written down: whoever ends the turn reads whether one had begun.
            await self._write(*started)
            started = ()
        self._intake.give_again(agent, f"{self._attempt}-{self._restarts}")
        for sequence, prompt in late.items():
            self._intake.note(sequence)
            self._feed.put(prompt)
        await self._intake.take(self._answers, *started)
        return False

    # --- while it runs -------------------------------------------------------------------------------------------

    async def _agent_did(self, event: protocol.AgentEvent) -> bool:
        match event:
            case protocol.TextDelta():
                if piece := self._narrator.delta(event, self._place.log.lease):
                    self._place.log.live(piece)
            case protocol.Finished():
                return self._agent_finished(event)
            case protocol.Exited() if self._ready:
                return await self._agent_exited(event)
            case _:
                await self._narrate(event)
        return False

    async def _narrate(self, event: protocol.AgentEvent) -> None:
        told = self._narrator.tell(event)
        if told is not None:
            await self._write(told)
        if isinstance(told, QuestionAsked):
            self._asking.asked(told)

    def _agent_finished(self, finished: protocol.Finished) -> bool:
        self._tally.add(finished)
        self._feed.answered(finished.answered)
        if not self._ending and not self._working():
            outcome: Outcome = "completed" if finished.ok else "failed"
            reason = "" if finished.ok else finished.text
            self._ending = Ending(outcome=outcome, reason=reason, stop_reason=finished.stop_reason)
        return self._settled()

    async def _agent_exited(self, exited: protocol.Exited) -> bool:
        await self._feed.reset()
        await self._place.station.end_agent()
        ending = self._ending or self._over_budget()
        if ending or self._restarts >= RESTARTS:
            self._ending = ending or Ending(outcome="failed", reason=exited.reason)
            return self._settled()
        self._restarts += 1
        await self._asking.lapse()
        await self._write(Notice(level="warning", text=f"{exited.reason} It is started again."))
        self._ready = False
        self._preparing.start(self._tally.cost_usd)
        return False

    async def _logged(self, logged: Logged) -> bool:
        message = logged.message
        stops = self._view.stops(logged.sequence, message, self._opener)
        self._view.apply(logged.sequence, message)
        match message:
            case Control() if stops:
                self._awaits_log = False
                return await self._wind_up(stopped(message, by=message.user.id))
            case Answered() if not self._ending and (agent := self._place.station.agent):
                if await self._asking.answer(message, logged.sequence, agent):
                    self._intake.note(logged.sequence)
            case Said() if self._ready and not self._ending:
                await self._intake.take(self._answers)
        return False

    async def _answers(self, said: Said) -> bool:
        station = self._place.station
        if station.agent is None:
            return False
        return await self._asking.answer_by_words(said, prompt_text(said, station.person), station.agent)

    # --- ending ------------------------------------------------------------------------------------------------

    async def _wind_up(self, ending: Ending) -> bool:
        """Interrupt the agent for `ending`; True when there is nothing to wait for."""
        if self._ending:
            self._ending = self._ending.after(ending)
            return self._settled()
        self._ending = ending
        self._clock.start_patience()
        await self._feed.stop()
        agent = self._place.station.agent
        if agent is not None and self._working():
            await self._clock.patiently(agent.interrupt())
        return self._settled()

    def _working(self) -> bool:
        return self._place.station.agent is not None and self._feed.open > 0

    def _settled(self) -> bool:
        """Whether all is said: the agent is done, and the log has the stop that was heard ahead of it."""
        return self._ending is not None and not self._working() and not self._awaits_log

    async def _finish(self, ending: Ending) -> None:
        await self._preparing.stop()
        await self._asking.lapse()
        ending, commits = await self._closing.save(ending)
        if ending.handed_over:
            spent = self._tally
            reason = "the worker has to go"
            await self._write(HandedOver(reason=reason, usage=spent.usage, cost_usd=spent.cost_usd))
            return
        end = self._tally.end(self._opener, ending, self._intake.all, self._narrator.texts)
        await self._closing.end(end, self._attempt, (*self._before.commits, *commits))
