"""One turn: an actor that reacts to one happening after another until the turn has its end."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from schemas.ends import TurnEnd, Usage
from schemas.events import (
    CommitPushed,
    Event,
    InputTaken,
    Notice,
    Outcome,
    Phases,
    QuestionAsked,
    QuestionClosed,
    TurnStarted,
)
from schemas.inputs import Answered, Close, Said, Stop
from schemas.live import Status
from services.worker.agents import protocol
from services.worker.attachments import fetch
from services.worker.core import Attempted, SessionView, Waiting, prompt_text
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
from services.worker.narrate import Narrator
from services.worker.place import Place
from services.worker.settings import TurnLimits
from services.worker.station import NotReady

# An agent that exits by itself is started again this often in one turn.
RESTARTS = 1
PATIENCE_SECONDS = 0.5
SAVE_BEFORE_STOP_SECONDS = 0.4
WARNING_SECONDS = 300


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the turn ends, decided; `handed_over` ends only this worker's part of it."""

    outcome: Outcome = "completed"
    reason: str = ""
    stop_reason: str = ""
    handed_over: bool = False


class Turn:
    """The turn that `opener` opened, on this worker."""

    def __init__(
        self, place: Place, opener: Waiting, limits: TurnLimits, attempt: int, before: Attempted
    ) -> None:
        self._place = place
        self._view: SessionView = place.view
        self._opener = opener
        self._limits = limits
        self._attempt = attempt
        self._before = before
        self._narrator = Narrator(opener.sequence, before.blocks)
        self._questions = set(before.questions)
        self._taken: list[int] = [opener.sequence, *(s for s in before.taken if s != opener.sequence)]
        self._texts: list[str] = []
        self._usage = Usage()
        self._cost = 0.0
        self._sent = 0
        self._replies = 0
        self._restarts = 0
        self._patience: asyncio.TimerHandle | None = None
        self._ending: Ending | None = None
        self._stop_logged = False
        self._phases = Phases()
        self._began = time.monotonic()

    @property
    def id(self) -> int:
        """The sequence of the input that opened it."""
        return self._opener.sequence

    async def run(self, phases: Phases) -> bool:
        """Work until the turn has ended (True) or is handed over (False). Raises `LeaseLost`."""
        self._phases = phases
        timers = self._start_timers()
        preparing = asyncio.create_task(self._prepare(), name="prepare")
        try:
            while not await self._react(await self._place.next()):
                pass
        finally:
            preparing.cancel()
            for timer in (*timers, *([self._patience] if self._patience else [])):
                timer.cancel()
        return await self._finish(self._ending or Ending())

    def _start_timers(self) -> list[asyncio.TimerHandle]:
        loop, near = asyncio.get_running_loop(), min(WARNING_SECONDS, self._limits.seconds // 5)
        report = self._place.report
        return [
            loop.call_later(self._limits.seconds - near, report, DeadlineNear(near)),
            loop.call_later(self._limits.seconds, report, DeadlinePassed()),
        ]

    async def _prepare(self) -> None:
        try:
            took = await self._place.station.prepare(
                self._opener, self._place.repo, self._limits, self._place.tools, self._status
            )
        except NotReady as e:
            self._place.report(Prepared(problem=str(e)))
            return
        self._phases = msgspec.structs.replace(self._phases, workspace=took.workspace, agent=took.agent)
        self._place.report(Prepared())

    def _status(self, text: str) -> None:
        self._place.log.live(Status(lease=self._place.log.lease, turn=self._opener.sequence, text=text[:200]))

    async def _react(self, happening: Happening) -> bool:
        """React; True when nothing is to be waited for any more."""
        match happening:
            case Prepared():
                return await self._begin(happening)
            case AgentSaid():
                return self._place.station.is_current(happening) and await self._agent_did(happening.event)
            case Logged():
                return await self._logged(happening)
            case DeadlineNear():
                return await self._warn(happening.seconds)
            case PatienceOver():
                await self._place.station.end_agent()
                return self._settled()
        return await self._wind_up(self._ending_for(happening))

    def _ending_for(self, happening: StopHeard | DeadlinePassed | DrainAsked) -> Ending:
        match happening:
            case StopHeard():
                return Ending(outcome="cancelled", reason="stopped")
            case DrainAsked():
                return Ending(handed_over=True)
            case DeadlinePassed():
                minutes = max(1, self._limits.seconds // 60)
                return Ending(outcome="timed_out", reason=f"the turn's {minutes} min are over")

    async def _warn(self, seconds: int) -> bool:
        await self._write(Notice(level="warning", text=f"This turn has {max(1, seconds // 60)} min left."))
        return False

    async def _write(self, event: Event) -> None:
        await self._place.log.event(msgspec.structs.replace(event, turn=self._opener.sequence))

    # --- beginning ---------------------------------------------------------------------------------------------

    async def _begin(self, prepared: Prepared) -> bool:
        agent = self._place.station.agent
        if prepared.problem or agent is None:
            self._ending = self._ending or Ending(outcome="failed", reason=prepared.problem)
            return True
        if self._ending:
            return True
        place = self._place
        await self._write(
            TurnStarted(
                attempt=self._attempt,
                worker=place.worker,
                agent=place.agent_name,
                resumed=place.station.resumed,
                warm=place.warm,
                phases=self._phases,
                branch=place.station.branch,
            )
        )
        await self._give_again(agent)
        for waiting in self._view.waiting():
            await self._take(waiting)
        return False

    async def _give_again(self, agent: protocol.Agent) -> None:
        """Give the agent the inputs that earlier attempts took, as far as its conversation lacks them."""
        missing = [sequence for sequence in self._before.taken if sequence in self._view.said]
        missing = [sequence for sequence in missing if not agent.contains(self._view.said[sequence].id)]
        for sequence in missing:
            await self._send(self._view.said[sequence])
        if self._before.taken and not missing:
            await self._hand(
                protocol.Prompt(
                    id=f"go-on-{self._opener.sequence}-{self._attempt}-{self._restarts}", text=GO_ON
                )
            )

    async def _take(self, waiting: Waiting) -> None:
        if waiting.sequence not in self._taken:
            self._taken.append(waiting.sequence)
        await self._write(InputTaken(sequence=waiting.sequence, id=waiting.said.id))
        self._view.take(waiting.sequence)
        self._before = msgspec.structs.replace(self._before, taken=(*self._before.taken, waiting.sequence))
        await self._send(waiting.said)

    async def _send(self, said: Said) -> None:
        workspace = self._place.station.workspace
        attachments, problems = (
            await fetch(self._place.files, workspace, said.files) if workspace else ((), ())
        )
        for problem in problems:
            await self._write(Notice(level="warning", text=problem))
        text = prompt_text(said, self._opener.said)
        await self._hand(protocol.Prompt(id=said.id, text=text, attachments=attachments))

    async def _hand(self, prompt: protocol.Prompt) -> None:
        agent = self._place.station.agent
        if agent is None:
            return
        self._sent += 1
        try:
            await agent.send(prompt)
        except protocol.AgentError as e:
            self._place.report(Prepared(problem=str(e)))

    # --- while it runs -------------------------------------------------------------------------------------------

    async def _agent_did(self, event: protocol.AgentEvent) -> bool:
        match event:
            case protocol.TextDelta():
                self._place.log.live(self._narrator.delta(event, self._place.log.lease))
            case protocol.Finished():
                return await self._agent_finished(event)
            case protocol.Exited():
                return await self._agent_exited(event)
            case _:
                told = self._narrator.tell(event)
                if isinstance(told, QuestionAsked):
                    self._questions.add(told.id)
                if told is not None:
                    await self._write(told)
        return False

    async def _agent_finished(self, finished: protocol.Finished) -> bool:
        self._texts += [finished.text] if finished.text else []
        self._usage = _sum(self._usage, finished.usage)
        self._cost += finished.cost_usd
        self._replies += finished.answered
        if self._ending:
            return self._settled()
        if self._working():
            return False
        outcome: Outcome = "completed" if finished.ok else "failed"
        reason = "" if finished.ok else finished.text
        self._ending = Ending(outcome=outcome, reason=reason, stop_reason=finished.stop_reason)
        return True

    async def _agent_exited(self, exited: protocol.Exited) -> bool:
        await self._place.station.end_agent()
        if self._ending or self._restarts >= RESTARTS:
            self._ending = self._ending or Ending(outcome="failed", reason=exited.reason)
            return self._settled()
        self._restarts += 1
        self._sent = self._replies = 0
        await self._write(Notice(level="warning", text=f"{exited.reason} It is started again."))
        await self._prepare()
        return False

    async def _logged(self, logged: Logged) -> bool:
        message = logged.message
        self._view.apply(logged.sequence, message)
        match message:
            case Stop() | Close() if logged.sequence > self._opener.sequence:
                self._stop_logged = True
                return await self._wind_up(
                    Ending(outcome="cancelled", reason="stopped", stop_reason=message.user.id)
                )
            case Answered():
                await self._answered(logged.sequence, message)
            case Said() if self._sent and not self._ending:
                for waiting in self._view.waiting():
                    await self._take(waiting)
            case _:
                pass
        return False

    async def _answered(self, sequence: int, answered: Answered) -> None:
        agent = self._place.station.agent
        if answered.question not in self._questions or agent is None:
            return
        self._questions.discard(answered.question)
        self._taken.append(sequence)
        await self._write(InputTaken(sequence=sequence, id=answered.id))
        await self._write(
            QuestionClosed(id=answered.question, by=answered.user, choice=answered.choice, text=answered.text)
        )
        await agent.answer(answered.question, protocol.Answer(choice=answered.choice, text=answered.text))

    # --- ending ------------------------------------------------------------------------------------------------

    async def _wind_up(self, ending: Ending) -> bool:
        """Interrupt the agent for `ending`; True when there is nothing to wait for."""
        if self._ending:
            return self._settled()
        self._ending = ending
        if not self._working():
            return self._settled()
        self._patience = asyncio.get_running_loop().call_later(
            PATIENCE_SECONDS, self._place.report, PatienceOver()
        )
        agent = self._place.station.agent
        if agent is not None:
            await _bounded(agent.interrupt, PATIENCE_SECONDS)
        return False

    def _working(self) -> bool:
        return self._place.station.agent is not None and self._sent > self._replies

    def _settled(self) -> bool:
        """Whether all is said: the agent is done, and the log has the stop that was heard ahead of it."""
        heard = self._ending is not None and self._ending.outcome == "cancelled"
        return not self._working() and (self._stop_logged or not heard)

    async def _finish(self, ending: Ending) -> bool:
        for question in sorted(self._questions):
            await self._write(QuestionClosed(id=question))
        saving = asyncio.create_task(self._save())
        if ending.outcome == "cancelled":
            await asyncio.wait([saving], timeout=SAVE_BEFORE_STOP_SECONDS)
        else:
            await saving
        commits = saving.result() if saving.done() else ()
        if ending.handed_over:
            return False
        await self._place.log.end(self._end(ending, commits))
        self._view.apply(self._opener.sequence, self._end(ending, commits))
        await saving
        return True

    async def _save(self) -> tuple[CommitPushed, ...]:
        events = await self._place.station.save(self._opener.said, self._opener.sequence, self._place.fence)
        for event in events:
            await self._place.log.event(event)
        return tuple(event for event in events if isinstance(event, CommitPushed))

    def _end(self, ending: Ending, commits: tuple[CommitPushed, ...]) -> TurnEnd:
        return TurnEnd(
            turn=self._opener.sequence,
            outcome=ending.outcome,
            inputs=tuple(self._taken),
            user=self._opener.said.user,
            text="\n\n".join(self._texts),
            reason=ending.reason,
            stop_reason=ending.stop_reason,
            usage=self._usage,
            cost_usd=self._cost,
            duration_ms=round((time.monotonic() - self._began) * 1000),
            attempt=self._attempt,
            agent=self._place.agent_name,
            branch=self._place.station.branch,
            commits=commits,
            state_complete=self._place.station.state_complete,
        )


GO_ON = (
    "You were interrupted and run again on another machine. Look at what is done, and go on where you were."
)


async def _bounded(act: Callable[[], Awaitable[None]], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await act()
    except TimeoutError:
        return


def _sum(one: Usage, other: protocol.Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
    )
