"""The holder's pen, used by tasks that may be cancelled at any moment."""

import asyncio
from collections.abc import Sequence

import pytest

from schemas.ends import TurnEnd
from schemas.events import EVENTS, Notice
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bus import Bus, Draft
from services.runtime.errors import Conflict
from services.runtime.follow import read
from services.worker.lease import LeaseLost
from services.worker.session_log import SessionLog
from tests.worker.conftest import Held

KEY = SessionKey("T1", "C1", "1712345678-000100")


@pytest.mark.parametrize("steps", range(8))
async def test_a_writer_that_is_cancelled_costs_nobody_the_lease(bus: Bus, steps: int) -> None:
    log = SessionLog(bus, KEY)
    await log.claim(Held("w-1", 1), 1)
    writer = asyncio.create_task(log.event(Notice(text="from a task that is cancelled")))
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps % 2:
        await bus.client.flush()
    writer.cancel()
    await asyncio.wait([writer])

    await log.event(Notice(text="the next one"))
    await log.end(TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1")))

    assert not log.lost.is_set()
    kinds = [
        delivery.headers["Threadmill-Schema"]
        for delivery in await read(bus, "SESSIONS", [f"session.{KEY}.>"])
    ]
    assert kinds[0] == "claimed/1"
    assert kinds[-3:] == ["notice/1", "turn-finished/1", "turn-end/1"]


class Told(Bus):
    """Is told of a message of `out` once that is gone when it asks for it."""

    told = 0

    async def publish(self, draft: Draft, *, deadline: float = 10) -> int:
        if self.told:
            told, self.told = self.told, 0
            raise Conflict("another write came first", told)
        return await super().publish(draft, deadline=deadline)


async def test_a_session_is_claimed_though_what_was_before_is_purged_meanwhile(bus: Bus) -> None:
    told = Told(bus.client, direct=True)
    told.told = 1000
    log = SessionLog(told, KEY)
    async with asyncio.timeout(10):
        await log.claim(Held("w-1", 1), 1)
    assert (log.follows, log.claimed) == (0, 1)


@pytest.mark.parametrize("direct", [True, False])
async def test_a_session_that_was_taken_for_a_new_one_is_claimed_after_what_is_there(
    bus: Bus, direct: bool
) -> None:
    other, own = SessionLog(bus, KEY), SessionLog(Bus(bus.client, direct=direct), KEY)
    await other.claim(Held("w-1", 1), 1)
    await own.claim(Held("w-2", 2), 1)
    assert (other.follows, own.follows) == (0, other.claimed)
    await own.event(Notice(text="the session is this one's"))
    with pytest.raises(LeaseLost):
        await other.event(Notice(text="and the other's no more"))


class Counted(Bus):
    """Notes how many messages each write stores."""

    stored: list[int]

    async def publish(self, draft: Draft, *, deadline: float = 10) -> int:
        self.stored.append(1)
        return await super().publish(draft, deadline=deadline)

    async def publish_batch(self, drafts: Sequence[Draft], *, deadline: float = 10) -> int:
        self.stored.append(len(drafts))
        return await super().publish_batch(drafts, deadline=deadline)


@pytest.mark.parametrize(("replicas", "stored"), [(1, [1, 1, 1, 1, 1]), (3, [1, 3, 1])])
async def test_events_that_come_together_are_one_write_where_writes_are_replicated(
    bus: Bus, replicas: int, stored: list[int]
) -> None:
    counted = Counted(bus.client, replicas=replicas)
    counted.stored = []
    former, own = SessionLog(counted, KEY), SessionLog(bus, KEY)
    await former.claim(Held("w-1", 1), 1)
    last = await former.event(Notice(text="one"), Notice(text="two"), Notice(text="three"))
    assert await former.event(Notice(text="four")) == last + 1
    assert counted.stored == stored
    await own.claim(Held("w-2", 2), 2)
    with pytest.raises(LeaseLost):
        await former.event(Notice(text="five"), Notice(text="six"))
    found = [EVENTS.decode(each.data) for each in await read(bus, "SESSIONS", [f"session.{KEY}.out"])]
    assert [each.text for each in found if isinstance(each, Notice)] == ["one", "two", "three", "four"]
