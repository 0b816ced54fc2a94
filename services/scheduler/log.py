"""Reading a session's log: what the scheduler has not heard yet, in order."""

import asyncio
from collections.abc import AsyncIterator

from schemas.base import MalformedMessage, Unknown
from schemas.bus import SESSIONS
from schemas.keys import SessionKey
from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.scheduler.subjects import Heard, decode


class SessionLog:
    """The inputs, controls and ends of sessions, read from the stream's leader."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def after(self, key: SessionKey, position: int, before: int | None = None) -> AsyncIterator[Heard]:
        """Yield what stands after `position` (and before `before`), in order. Raises `Unavailable`."""
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

    async def _next(self, subject: str, position: int) -> Stored | None:
        return await self._bus.following(SESSIONS.name, subject, position)


def _heard(stored: Stored) -> Heard:
    try:
        return Heard(stored.sequence, decode(stored.subject, stored.data))
    except MalformedMessage:
        # Its own delivery makes a dead letter of it; the fold passes over it.
        return Heard(stored.sequence, Unknown("malformed"))
