"""Bringing a memory up to a place in the log, in order, with what each message causes on the way."""

from msgspec.structs import replace

from schemas.base import now
from schemas.buckets import Turns
from schemas.ends import TurnEnd
from schemas.keys import SessionKey
from services.scheduler.leases import Leases
from services.scheduler.log import SessionLog
from services.scheduler.memory import fold
from services.scheduler.ratelimits import RateLimits
from services.scheduler.subjects import Heard
from services.scheduler.summaries import Summaries


class Recall:
    """Folds the log into memories. What an end causes happens before the memory passes it, so that none is missed."""

    def __init__(self, log: SessionLog, leases: Leases, rates: RateLimits, summaries: Summaries) -> None:
        self._log = log
        self._leases = leases
        self._rates = rates
        self._summaries = summaries

    async def reached(self, key: SessionKey, heard: Heard, *, at_hand: bool) -> Heard:
        """Return `heard` once all before it can be read. Raises `Unavailable`.

        A session that is not `at_hand` is new for the most part: the answer says `first` of the message that its log begins with.
        """
        if not at_hand and await self._log.is_first(key, heard.sequence):
            return replace(heard, first=True)
        await self._log.reached(heard.sequence)
        return heard

    async def up_to(self, key: SessionKey, memory: Turns, heard: Heard) -> Turns:
        """Return `memory` with everything up to `heard`, which is `reached`; an older one changes nothing.

        Raises `Unavailable`.
        """
        if heard.sequence <= memory.heard:
            return memory
        if not heard.first:
            async for missed in self._log.after(key, memory.heard, heard.sequence):
                memory = await self._folded(key, memory, missed)
        return await self._folded(key, memory, heard)

    async def to_the_end(self, key: SessionKey, memory: Turns) -> Turns:
        """Return `memory` with everything that the log holds now. Raises `Unavailable`."""
        async for missed in self._log.after(key, memory.heard):
            memory = await self._folded(key, memory, missed)
        return memory

    async def lacks(self, key: SessionKey, sequence: int) -> bool:
        """Tell whether nobody said anything at `sequence` in the session, nor will. Raises `Unavailable`."""
        return await self._log.lacks(key, sequence)

    async def _folded(self, key: SessionKey, memory: Turns, heard: Heard) -> Turns:
        if isinstance(heard.message, TurnEnd):
            await self._summaries.ended(key, heard.message)
            if heard.message.ours:
                await self._rates.give_back(key, heard.message.user, heard.message.turn)
        held = self._leases.held(key)
        attended = held is not None and not held.ours
        return fold(memory, heard.sequence, heard.message, now(), attended=attended)
