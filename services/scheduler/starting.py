"""Opening and starting turns: admit, find room or stand in line, hand out the assignment."""

import asyncio
import math
from datetime import timedelta

from msgspec.structs import replace

from schemas.base import now
from schemas.buckets import OpenTurn, Summary, Turns
from schemas.keys import SessionKey
from schemas.live import Live, Status
from schemas.operations import Audited
from schemas.work import Assignment
from services.runtime.audit import audit
from services.runtime.bus import Bus, Draft
from services.scheduler import memory as transitions
from services.scheduler.agenda import Agenda
from services.scheduler.core import refusal_text
from services.scheduler.instructions import Instructions
from services.scheduler.line import Line
from services.scheduler.metrics import ASSIGNED, STARTS
from services.scheduler.ratelimits import RateLimits
from services.scheduler.settings import SchedulerSettings
from services.scheduler.staff import Staff
from services.scheduler.summaries import Summaries


class Starting:
    """Gets turns to workers."""

    def __init__(
        self,
        bus: Bus,
        rules: SchedulerSettings,
        agenda: Agenda,
        *,
        rates: RateLimits,
        staff: Staff,
        summaries: Summaries,
        instructions: Instructions,
    ) -> None:
        self._bus = bus
        self._rules = rules
        self._agenda = agenda
        self._rates = rates
        self._staff = staff
        self._line = Line(bus)
        self._instructions = instructions
        self._summaries = summaries

    async def admitted(self, key: SessionKey, memory: Turns) -> Turns:
        """Return `memory` with its first waiting input open, refused where its person may not. Raises `Unavailable`."""
        first = memory.waiting[0]
        retry_at = await self._rates.count(key, first.user, first.sequence)
        at = now()
        return transitions.opened(
            memory,
            at,
            at + timedelta(seconds=self._rules.turn_seconds),
            refusal=refusal_text(self._rules) if retry_at else "",
            retry_at=retry_at,
        )

    def begun(self, key: SessionKey, memory: Turns) -> Turns:
        """Return `memory` with a start of its open turn under way, where it may run and there is room."""
        turn = memory.open
        if turn is None or turn.refusal or self._line.is_ahead(turn.turn) or not self._staff.reserve(key):
            return memory
        return replace(memory, open=transitions.starting(turn, now(), self._rules))

    async def assignment(self, key: SessionKey, memory: Turns) -> Assignment | None:
        """Return what the start of `memory` hands out, in the audit trail by then; None without one. Raises `Unavailable`.

        The trail may name one that is not handed out after all, where `memory` is not stored: another replica had its start, once
        in the trail, or the message was withdrawn that very moment.
        """
        turn = memory.open
        if turn is None or turn.refusal or turn.starting_until is None:
            return None
        summary, instructions, _ = await asyncio.gather(
            self._summaries.of(key), self._instructions.of(key, turn.user), self.audit(key, turn)
        )
        return self._assignment(key, turn, summary, instructions)

    async def publish(self, key: SessionKey, memory: Turns, assignment: Assignment | None) -> bool:
        """Hand out `assignment`; without one, stand in line and return True. Raises `Unavailable`."""
        turn = memory.open
        if turn is None or turn.refusal:
            return False
        if assignment is None:
            await self._stand_in_line(key, turn)
            return True
        self._staff.look()
        draft = Draft(
            subject=assignment.subject(),
            message=assignment,
            session=str(key),
            id=f"{assignment.id}.{turn.start}",
            ttl=math.ceil(self._rules.launch_timeout),
        )
        await self._bus.publish(draft)
        STARTS.inc()
        if turn.start == 1 and turn.input_at:
            ASSIGNED.observe(max(0.0, (now() - turn.input_at).total_seconds()))
        self._staff.started(key, turn)
        if self._staff.roster.is_drained():
            self.tell_cold(key, turn)
        self.leave_line(key)
        return False

    def tell_cold(self, key: SessionKey, turn: OpenTurn) -> None:
        """Show in the thread that the turn waits for a worker that is being started, and what is in its way."""
        trouble = self._staff.trouble
        text = f"is starting a worker: {trouble}" if trouble else "is starting a worker..."
        self._bus.live(Live.subject(key), Status(lease=turn.lost, turn=turn.turn, text=text[:200]))

    def leave_line(self, key: SessionKey) -> None:
        """The session waits for no worker any more; the next in line may find room."""
        self._line.leave(key)
        self._staff.stand_in_line(len(self._line))
        self.look_for_room()

    def look_for_room(self) -> None:
        """Let the head of the line try."""
        if self._line and self._staff.has_room():
            for key in self._line.first(1):
                self._agenda.soon(key)

    async def _stand_in_line(self, key: SessionKey, turn: OpenTurn) -> None:
        self._line.join(key, turn)
        self._staff.stand_in_line(len(self._line))
        self._agenda.after(key, 5.0)
        await self._staff.make_room(len(self._line))

    async def audit(self, key: SessionKey, turn: OpenTurn) -> None:
        """Have it in the audit trail that `turn` may run, unless it is refused. Raises `Unavailable`.

        It is told at every start: of an earlier one nobody knows whether it got so far.
        """
        if turn.refusal:
            return
        entry = Audited(
            team=key.team, who=turn.user.id, did="started", session=str(key), detail=f"turn {turn.turn}"
        )
        await audit(self._bus, entry, once=str(turn.turn))

    def _assignment(
        self, key: SessionKey, turn: OpenTurn, summary: Summary | None, instructions: tuple[str, ...]
    ) -> Assignment:
        assert turn.starting_until is not None
        return Assignment(
            session=str(key),
            turn=turn.turn,
            attempt=turn.attempt,
            trouble=turn.trouble,
            pool=self._rules.pool,
            user=turn.user,
            expires_at=turn.starting_until,
            input_at=turn.input_at,
            opened_after=turn.opened_after,
            turn_seconds=max(1, round((turn.deadline - now()).total_seconds())),
            max_budget_usd=self._rules.max_budget_usd,
            instructions=instructions,
            owner=summary.user if summary else turn.user,
            repo=(summary.repo or None) if summary else None,
            branch=(summary.branch or None) if summary else None,
        )
