"""Reading a session's log: what the scheduler has not heard yet, in order, and what holders wrote."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from schemas.base import MalformedMessage, Message, Unknown
from schemas.bus import SESSIONS
from schemas.events import EVENTS
from schemas.keys import SessionKey
from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.scheduler.subjects import Heard, decode

# Less than the lease's life that holders' words are read under.
PATIENCE_SECONDS = 10.0


class SessionLog:
    """The inputs, controls and ends of sessions, read from the stream's leader."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def after(self, key: SessionKey, position: int, before: int | None = None) -> AsyncIterator[Heard]:
        """Yield what stands after `position` and before `before`, which is `reached`; without, what stands there now.

        Raises `Unavailable`.
        """
        subjects = [f"session.{key}.{leaf}" for leaf in ("in.*", "control", "end.*")]
        # Nothing below a message that the leader has can be missing there: each is stored after those before it.
        before = await self._end(subjects) if before is None else before
        heads = dict(
            zip(subjects, await asyncio.gather(*(self._next(s, position) for s in subjects)), strict=True)
        )
        while True:
            subject, first = min(heads.items(), key=lambda head: head[1].sequence if head[1] else 2**63)
            if first is None or first.sequence >= before:
                return
            yield _heard(first)
            heads[subject] = await self._next(subject, first.sequence)

    async def reached(self, sequence: int) -> None:
        """Return when the stream's leader has `sequence`, which was heard from a follower. Raises `Unavailable`."""
        await self._bus.reached(SESSIONS.name, sequence)

    async def is_first(self, key: SessionKey, sequence: int) -> bool:
        """Tell whether the leader has `sequence`, and nothing of the session before it. Raises `Unavailable`."""
        first = await self._bus.following(SESSIONS.name, f"session.{key}.>", 0)
        return first is not None and first.sequence == sequence

    async def lacks(self, key: SessionKey, sequence: int) -> bool:
        """Tell whether nobody said anything at `sequence` in the session, nor will. Raises `Unavailable`."""
        if not await self._bus.has(SESSIONS.name, sequence):
            return False
        stored = await self._bus.at(SESSIONS.name, sequence)
        if stored is None or not stored.subject.startswith(f"session.{key}.in."):
            return True
        return isinstance(_heard(stored).message, Unknown)

    async def _end(self, subjects: list[str]) -> int:
        lasts = await asyncio.gather(*(self._bus.last(SESSIONS.name, each) for each in subjects))
        return 1 + max((last.sequence for last in lasts if last), default=0)

    async def _next(self, subject: str, position: int) -> Stored | None:
        return await self._bus.following(SESSIONS.name, subject, position)


def _heard(stored: Stored) -> Heard:
    try:
        return Heard(stored.sequence, decode(stored.subject, stored.data))
    except MalformedMessage:
        # Its own delivery makes a dead letter of it; the fold passes over it.
        return Heard(stored.sequence, Unknown("malformed"))


async def events(bus: Bus, key: SessionKey, after: int, *, through: int = 0) -> list[Message | Unknown]:
    """Return what holders wrote after the sequence `after`; see `Follow` for `through`. Raises `Unavailable`."""
    out = f"session.{key}.out"
    stored = await read(bus, SESSIONS.name, [out], after=after, through=through, patience=PATIENCE_SECONDS)
    found: list[Message | Unknown] = []
    for delivery in stored:
        with contextlib.suppress(MalformedMessage):
            found.append(EVENTS.decode(delivery.data))
    return found
