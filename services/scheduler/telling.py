"""Telling people that what they said waits, where a holder would and none is there to."""

import contextlib

import structlog

from schemas.events import Paused
from schemas.keys import SessionKey
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import Conflict
from services.scheduler.holding import holding
from services.scheduler.leases import Leases
from services.scheduler.log import events
from services.scheduler.memories import Memories

log = structlog.get_logger(__name__)


class Telling:
    """Writes `Paused`, once for each pause."""

    def __init__(self, bus: Bus, leases: Leases, memories: Memories) -> None:
        self._bus = bus
        self._leases = leases
        self._memories = memories

    async def tell(self, key: SessionKey, since: int) -> bool:
        """Tell of the pause since sequence `since`, unless that is done; False where it is to be looked at again later.

        Raises `StreamFull`, `Unavailable`.
        """
        if await self._is_told(key, since):
            return True
        # It may have been decided long ago: a turn that starts by now must find nobody in its way.
        if not await self._is_due(key, since):
            return False
        with contextlib.suppress(Conflict):
            async with holding(self._bus, self._leases, key) as held:
                if held and await self._is_due(key, since):
                    await self._tell(key, since, await held.claim())
                    return True
        return False

    async def _is_due(self, key: SessionKey, since: int) -> bool:
        return await self._memories.untold_since(key) == since

    async def _tell(self, key: SessionKey, since: int, claimed: int) -> None:
        if await self._is_told(key, since, through=claimed):
            return
        paused = Paused()
        await self._bus.publish(
            Draft(subject=paused.subject(key), message=paused, session=str(key), fence=Fence(claimed))
        )
        log.info("told that what was said waits", session=str(key))

    async def _is_told(self, key: SessionKey, since: int, *, through: int = 0) -> bool:
        found = await events(self._bus, key, since, through=through)
        return any(isinstance(event, Paused) for event in found)
