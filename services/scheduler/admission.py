"""The desk where a holder asks whether the next input may open a turn."""

import asyncio

from msgspec.structs import replace

from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.keys import SessionKey
from schemas.work import Admission, Admit, NotNow
from services.runtime.errors import Conflict
from services.scheduler import memory as transitions
from services.scheduler.agenda import Agenda
from services.scheduler.conductor import Conductor
from services.scheduler.counting import count
from services.scheduler.instructions import Instructions
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.recall import Recall
from services.scheduler.settings import SchedulerSettings
from services.scheduler.starting import Starting


class Desk:
    """Admits inputs of sessions that a worker holds."""

    def __init__(
        self,
        *,
        rules: SchedulerSettings,
        conductor: Conductor,
        memories: Memories,
        recall: Recall,
        leases: Leases,
        starting: Starting,
        agenda: Agenda,
        instructions: Instructions,
    ) -> None:
        self._rules = rules
        self._conductor = conductor
        self._memories = memories
        self._recall = recall
        self._leases = leases
        self._starting = starting
        self._agenda = agenda
        self._instructions = instructions

    async def answer(self, request: Admit) -> Admission | NotNow:
        """Return the answer: not now, where another turn is open, the queue waits after a stop, or one of us is behind.

        Raises `InvalidKey` and `Unavailable`.
        """
        key = SessionKey.parse(request.session)
        async with self._conductor.lock(key):
            while True:
                try:
                    answer = await self._decide(key, request.turn)
                except Conflict:
                    continue
                self._agenda.soon(key)
                return answer

    async def _decide(self, key: SessionKey, turn: int) -> Admission | NotNow:
        known, revision = await self._memories.get(key)
        memory = await self._recall.to_the_end(key, known)
        if (
            memory.open is None
            and memory.waiting
            and memory.waiting[0].sequence == turn
            and not memory.paused
        ):
            memory = self._run(key, await self._starting.admitted(key, memory))
        if memory != known:
            await self._memories.put(key, memory, revision)
            count(known, memory)
        if memory.open and memory.open.turn == turn:
            instructions, _ = await asyncio.gather(
                self._instructions.of(key, memory.open.user), self._starting.audit(key, memory.open)
            )
            return self._admission(memory.open, instructions)
        if turn < 1 or await self._recall.lacks(key, turn):
            return Admission(admitted=False, reason="There is no such message.")
        # It waits behind another one, has its fate, or came to the asker's replica before it came to the leader: a
        # refusal would end it.
        return NotNow()

    def _run(self, key: SessionKey, memory: Turns) -> Turns:
        held = self._leases.held(key)
        if held is None or held.ours or memory.open is None or memory.open.refusal:
            return memory
        return replace(memory, open=transitions.held(memory.open, held.token, now()))

    def _admission(self, turn: OpenTurn, instructions: tuple[str, ...]) -> Admission:
        return Admission(
            admitted=not turn.refusal,
            attempt=turn.attempt,
            opened_after=turn.opened_after,
            reason=turn.refusal,
            retry_at=turn.retry_at,
            turn_seconds=max(1, round((turn.deadline - now()).total_seconds())),
            max_budget_usd=self._rules.max_budget_usd,
            instructions=instructions,
        )
