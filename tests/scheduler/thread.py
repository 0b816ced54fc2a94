"""A thread as its people see it: they say things, and turns end."""

import asyncio
import contextlib
import itertools
from datetime import datetime

from schemas.base import now
from schemas.bus import SESSIONS
from schemas.ends import TurnEnd
from schemas.events import Event
from schemas.inputs import Close, Continued, Said, Stop, Withdrawn
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.follow import Follow, read

_numbers = itertools.count(1)


class Thread:
    def __init__(self, bus: Bus, *, user: str = "U1") -> None:
        self.bus = bus
        self.key = SessionKey("T1", "C1", f"1-{next(_numbers)}")
        self.user = Person(id=user)

    async def say(self, text: str, *, user: str | None = None) -> int:
        said = Said(id=f"m-{next(_numbers)}", user=Person(id=user) if user else self.user, text=text)
        return await self._put(said)

    async def delete(self, sequence: int) -> int:
        stored = await self.bus.at(SESSIONS.name, sequence)
        assert stored is not None
        of = Said.decode(stored.data).id
        return await self._put(Withdrawn(id=f"d-{of}", user=self.user, of=of))

    async def go_on(self) -> int:
        return await self._put(Continued(id=f"a-{next(_numbers)}", user=self.user))

    async def stop(self, at: datetime | None = None) -> int:
        stop = Stop(user=self.user, at=at or now())
        return await self.bus.publish(Draft(subject=stop.subject(self.key), message=stop))

    async def close(self) -> int:
        close = Close(user=self.user)
        return await self.bus.publish(Draft(subject=close.subject(self.key), message=close))

    async def put(self, event: Event) -> int:
        return await self.bus.publish(Draft(subject=event.subject(self.key), message=event))

    async def _put(self, message) -> int:
        return await self.bus.publish(
            Draft(subject=message.subject(self.key), message=message, session=str(self.key), fence=Fence(0))
        )

    async def ended(self, turn: int, within: float = 10.0) -> TurnEnd:
        follow = Follow(self.bus, SESSIONS.name, [f"session.{self.key}.end.{turn}"])
        async with asyncio.timeout(within), contextlib.aclosing(follow.deliveries()) as deliveries:
            async for delivery in deliveries:
                if delivery:
                    return TurnEnd.decode(delivery.data)
        raise AssertionError

    async def ends(self) -> list[TurnEnd]:
        found = await read(self.bus, SESSIONS.name, [f"session.{self.key}.end.*"])
        return [TurnEnd.decode(each.data) for each in found]

    async def claims(self) -> int:
        return await self._count("claimed")

    async def starts(self) -> int:
        return await self._count("turn-started")

    async def pauses(self) -> int:
        return await self._count("paused")

    async def has(self, words: str) -> bool:
        last = await self.bus.last(SESSIONS.name, f"session.{self.key}.out")
        return last is not None and words.encode() in last.data

    async def _count(self, kind: str) -> int:
        found = await read(self.bus, SESSIONS.name, [f"session.{self.key}.out"])
        return sum(f'"kind":"{kind}"'.encode() in each.data for each in found)
