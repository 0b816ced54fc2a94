"""What a holder would write and none is there to: take the lease, claim like anybody, write it, release."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

import structlog

from schemas.base import MalformedMessage, Message, Unknown, now
from schemas.buckets import OpenTurn
from schemas.bus import SESSIONS
from schemas.ends import TurnEnd
from schemas.events import EVENTS, Claimed, Paused, TurnFinished
from schemas.keys import SessionKey
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import NOT_NOW, Conflict
from services.runtime.fit import fitting
from services.runtime.follow import read
from services.scheduler.core import Verdict
from services.scheduler.known import Known, known_of
from services.scheduler.leases import Leases

log = structlog.get_logger(__name__)

# Less than the lease's life that it is read under.
PATIENCE_SECONDS = 10.0


class Ending:
    """Writes the ends that are the scheduler's to write, and that what was said waits."""

    def __init__(self, bus: Bus, leases: Leases, most_attempts: int) -> None:
        self._bus = bus
        self._leases = leases
        self._most_attempts = most_attempts

    async def end(self, key: SessionKey, turn: OpenTurn, verdict: Verdict) -> bool:
        """End `turn`; False when somebody else holds the lease or was faster. Raises `StreamFull`, `Unavailable`."""
        return await self._holding(key, partial(self._end_as_holder, key, turn, verdict))

    async def offer(self, key: SessionKey, after: int) -> bool:
        """Have it told that what was said waits, unless it was after sequence `after`; False and raises as `end`."""
        told = any(isinstance(event, Paused) for event in await self._events(key, after))
        return told or await self._holding(key, partial(self._offer_as_holder, key))

    async def _holding(self, key: SessionKey, write: Callable[[int, int], Awaitable[bool]]) -> bool:
        """Call `write` with a lease of ours, and the sequence of the last `out` before it."""
        # Whoever takes the lease from us claims the session after this.
        follows = await self._last_out(key)
        lease = await self._leases.take(key)
        if lease is None:
            return False
        try:
            return await write(lease, follows)
        except Conflict:
            return False
        finally:
            with contextlib.suppress(*NOT_NOW):
                await self._leases.release(key, lease)

    async def _offer_as_holder(self, key: SessionKey, lease: int, follows: int) -> bool:
        claim = Claimed(lease=lease, holder=self._leases.name)
        claimed = await self._claim(key, claim, follows)
        paused = Paused()
        await self._bus.publish(
            Draft(subject=paused.subject(key), message=paused, session=str(key), fence=Fence(claimed))
        )
        log.info("told by the scheduler that what was said waits", session=str(key))
        return True

    async def _end_as_holder(
        self, key: SessionKey, turn: OpenTurn, verdict: Verdict, lease: int, follows: int
    ) -> bool:
        if await self._bus.last(SESSIONS.name, f"session.{key}.end.{turn.turn}"):
            return False
        claim = Claimed(turn=turn.turn, lease=lease, holder=self._leases.name, attempt=self._attempt(turn))
        claimed = await self._claim(key, claim, follows)
        known = known_of(turn.turn, await self._events(key, turn.turn, through=claimed))
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

    async def _claim(self, key: SessionKey, claim: Claimed, follows: int) -> int:
        while True:
            draft = Draft(subject=claim.subject(key), message=claim, session=str(key), fence=Fence(follows))
            try:
                return await self._bus.publish(draft)
            except Conflict:
                follows = await self._last_out(key)
                # Whoever held the lease before wrote once more; where it is not ours any more, somebody else did.
                await self._leases.confirm(key, claim.lease)

    async def _last_out(self, key: SessionKey) -> int:
        last = await self._bus.last(SESSIONS.name, f"session.{key}.out")
        return last.sequence if last else 0

    async def _events(self, key: SessionKey, after: int, *, through: int = 0) -> list[Message | Unknown]:
        deliveries = await read(
            self._bus,
            SESSIONS.name,
            [f"session.{key}.out"],
            after=after,
            through=through,
            patience=PATIENCE_SECONDS,
        )
        events: list[Message | Unknown] = []
        for delivery in deliveries:
            with contextlib.suppress(MalformedMessage):
                events.append(EVENTS.decode(delivery.data))
        return events

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
