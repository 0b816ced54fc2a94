"""Who began which turn is in the trail before a worker hears of it."""

import asyncio
from datetime import timedelta

from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.bus import AUDIT, TURNS
from schemas.operations import Audited
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.follow import read
from tests.scheduler.thread import Thread


async def trail(bus) -> list[tuple[str, str, str, str]]:
    entries = [Audited.decode(each.data) for each in await read(bus, AUDIT.name, ["audit.T1.started"])]
    return [(entry.who, entry.did, entry.session, entry.detail) for entry in entries]


async def test_an_admitted_turn_is_in_the_trail_once_whoever_admits_it(bus, scheduler) -> None:
    await asyncio.gather(*(scheduler() for _ in range(3)))
    thread = Thread(bus, user="U7")
    first = await thread.say("idle")
    await thread.ended(first)
    second = await thread.say("more")
    await thread.ended(second)
    key = str(thread.key)
    assert await trail(bus) == [
        ("U7", "started", key, f"turn {first}"),
        ("U7", "started", key, f"turn {second}"),
    ]


async def test_it_stands_there_when_the_assignment_is_handed_out(bus, scheduler) -> None:
    found: asyncio.Queue[int] = asyncio.Queue()

    async def look(_) -> None:
        found.put_nowait(len(await trail(bus)))

    await bus.client.subscribe("work.default", cb=look)
    await scheduler()
    await Thread(bus).say("finish")
    assert await asyncio.wait_for(found.get(), 10) == 1


async def test_a_start_that_nobody_handed_out_is_in_the_trail_with_the_next(bus, scheduler) -> None:
    thread = Thread(bus, user="U7")
    turn = await thread.say("finish")
    long_ago = now() - timedelta(minutes=5)
    opened = OpenTurn(
        turn=turn,
        user=Person(id="U7"),
        opened_at=long_ago,
        deadline=now() + timedelta(hours=1),
        start=1,
        starting_until=long_ago,
    )
    # The scheduler that remembered it died before it could hand it out.
    await Bucket(bus, TURNS.name, Turns).put(str(thread.key), Turns(heard=turn, open=opened), 0)
    await scheduler()
    assert (await thread.ended(turn)).outcome == "completed"
    assert await trail(bus) == [("U7", "started", str(thread.key), f"turn {turn}")]


async def test_a_refused_turn_was_not_started(bus, scheduler) -> None:
    await scheduler(turns_per_window=1)
    allowed, refused = Thread(bus), Thread(bus)
    await allowed.ended(await allowed.say("finish"))
    assert (await refused.ended(await refused.say("finish"))).outcome == "rejected"
    assert [session for _, _, session, _ in await trail(bus)] == [str(allowed.key)]
