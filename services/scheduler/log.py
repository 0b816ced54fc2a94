"""Reading a session's log: what the scheduler has not heard yet, in order."""

import asyncio
import time
from collections.abc import AsyncIterator

from schemas.base import MalformedMessage, Unknown
from schemas.bus import SESSIONS
from schemas.keys import SessionKey
from services.runtime.asking import CAUGHT_UP_SECONDS, LAG_SECONDS, Stored
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.scheduler.subjects import Heard, decode


class SessionLog:
    """The inputs, controls and ends of sessions, read from the stream's leader."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def after(self, key: SessionKey, position: int, before: int | None = None) -> AsyncIterator[Heard]:
        """Yield what stands after `position` (and before `before`, which was heard), in order. Raises `Unavailable`."""
        if before is not None and self._bus.replicas > 1:
            await self._reached(before)
        subjects = [f"session.{key}.{leaf}" for leaf in ("in.*", "control", "end.*")]
        heads = dict(
            zip(subjects, await asyncio.gather(*(self._next(s, position) for s in subjects)), strict=True)
        )
        while True:
            subject, first = min(heads.items(), key=lambda head: head[1].sequence if head[1] else 2**63)
            if first is None or (before is not None and first.sequence >= before):
                return
            yield _heard(first)
            heads[subject] = await self._next(subject, first.sequence)

    async def _reached(self, sequence: int) -> None:
        """Return when the leader has it too: what a follower has may be heard of a moment earlier."""
        patience = time.monotonic() + CAUGHT_UP_SECONDS
        while await self._bus.following(SESSIONS.name, "session.>", sequence - 1) is None:
            if time.monotonic() >= patience:
                raise Unavailable(f"the leader of {SESSIONS.name} does not have {sequence} yet")
            await asyncio.sleep(LAG_SECONDS)

    async def _next(self, subject: str, position: int) -> Stored | None:
        return await self._bus.following(SESSIONS.name, subject, position)


def _heard(stored: Stored) -> Heard:
    try:
        return Heard(stored.sequence, decode(stored.subject, stored.data))
    except MalformedMessage:
        # Its own delivery makes a dead letter of it; the fold passes over it.
        return Heard(stored.sequence, Unknown("malformed"))
