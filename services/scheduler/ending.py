"""Ending a turn that no worker ends: as its holder for a moment, the end in one batch."""

import contextlib
from datetime import datetime

import structlog

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.bus import SESSIONS
from schemas.ends import TurnEnd
from schemas.events import TurnFinished
from schemas.keys import SessionKey
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict
from services.runtime.fit import fitting
from services.scheduler.core import Verdict
from services.scheduler.holding import Holding, holding
from services.scheduler.known import Known, known_of
from services.scheduler.leases import Leases
from services.scheduler.log import events

log = structlog.get_logger(__name__)


class Ending:
    """Writes the ends that are the scheduler's to write."""

    def __init__(self, bus: Bus, leases: Leases, most_attempts: int) -> None:
        self._bus = bus
        self._leases = leases
        self._most_attempts = most_attempts

    async def end(self, key: SessionKey, turn: OpenTurn, verdict: Verdict) -> bool:
        """End `turn`; False when somebody else holds the lease or was faster. Raises `StreamFull`, `Unavailable`."""
        with contextlib.suppress(Conflict):
            async with holding(self._bus, self._leases, key) as held:
                return held is not None and await self._end_as_holder(held, turn, verdict)
        return False

    async def _end_as_holder(self, held: Holding, turn: OpenTurn, verdict: Verdict) -> bool:
        key = held.key
        if await self._bus.last(SESSIONS.name, f"session.{key}.end.{turn.turn}"):
            return False
        claimed = await held.claim(turn=turn.turn, attempt=self._attempt(turn))
        known = known_of(turn.turn, await events(self._bus, key, turn.turn, through=claimed))
        finished = TurnFinished(turn=turn.turn, outcome=verdict.outcome)
        end = fitting(self._written(turn, verdict, known))
        await self._bus.publish_batch(
            [
                Draft(
                    subject=finished.subject(key),
                    message=finished,
                    session=str(key),
                    fence=Fence(claimed),
                ),
                Draft(subject=end.subject(key), message=end, session=str(key), fence=Fence(0)),
            ]
        )
        log.info("turn ended by the scheduler", session=str(key), turn=turn.turn, outcome=verdict.outcome)
        return True

    def _attempt(self, turn: OpenTurn) -> int:
        return min(turn.attempt, self._most_attempts)

    def _written(self, turn: OpenTurn, verdict: Verdict, known: Known) -> TurnEnd:
        return TurnEnd(
            turn=turn.turn,
            outcome=verdict.outcome,
            inputs=known.inputs,
            user=turn.user,
            text=known.text,
            reason=verdict.reason,
            cost_usd=known.cost_usd,
            duration_ms=_worked_ms(known.began),
            attempt=self._attempt(turn),
            agent=known.agent,
            branch=known.branch,
            commits=known.commits,
            state_complete=known.complete,
            retry_at=verdict.retry_at,
            ours=verdict.ours,
            pressed_at=turn.pressed_at,
        )


def _worked_ms(began: datetime | None) -> int:
    return max(0, int((now() - began).total_seconds() * 1000)) if began else 0
