"""How turns go, on a real broker with scripted workers."""

import asyncio
from functools import partial

from schemas.base import now
from schemas.buckets import Lease, Turns
from schemas.bus import DEADLETTER, LEASES, TURNS
from schemas.inputs import Said
from schemas.people import Person
from schemas.work import Assignment
from services.runtime.bucket import Bucket
from services.runtime.follow import read
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def test_what_is_said_becomes_a_turn_that_ends(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    turn = await thread.say("finish")
    end = await thread.ended(turn)
    assert (end.outcome, end.inputs, end.attempt) == ("completed", (turn,), 1)


async def test_what_no_turn_took_opens_the_next_one_when_the_worker_left(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("finish")
    await thread.ended(first)
    second = await thread.say("finish")
    assert (await thread.ended(second)).outcome == "completed"
    assert [end.turn for end in await thread.ends()] == [first, second]


async def test_a_holder_asks_before_it_opens_the_next_turn(bus, scheduler) -> None:
    replica = await scheduler()
    thread = Thread(bus)
    first = await thread.say("idle")
    await thread.ended(first)
    second = await thread.say("more")
    assert (await thread.ended(second)).outcome == "completed"
    assert await thread.claims() == 1
    assert not replica.launcher.killed


async def test_a_turn_that_has_ended_is_handed_out_to_nobody(bus, scheduler) -> None:
    """Its worker is gone as soon as it has ended: that may be heard ahead of the end."""
    for _ in range(2):
        await scheduler(max_workers=40, turns_per_window=20)
    handed_out: list[str] = []

    async def note(message) -> None:
        handed_out.append(Assignment.decode(message.data).session)

    await bus.client.subscribe("work.default", cb=note)
    threads = [Thread(bus, user=f"U{n}") for n in range(20)]
    turns = [await thread.say("finish") for thread in threads]
    for thread, turn in zip(threads, turns, strict=True):
        await thread.ended(turn)
    memories = Bucket(bus, TURNS.name, Turns)

    async def idle() -> bool:
        known = [(await memories.get(str(thread.key))).value for thread in threads]
        return all(memory is not None and memory.idle for memory in known)

    # From then on nobody has anything to hand out.
    await until(idle)
    await bus.client.flush()
    assert sorted(handed_out) == sorted(str(thread.key) for thread in threads)


async def test_poison_becomes_a_dead_letter_and_blocks_nobody(bus, scheduler) -> None:
    await scheduler()
    thread = Thread(bus)
    await bus.publish_raw(f"session.{thread.key}.in.poison", b"\xff{", {})
    await bus.publish_raw(
        f"session.{thread.key}.in.who", Said(id="who", user=Person(id="a b"), text="x").encode(), {}
    )
    await bus.publish_raw(f"session.{thread.key}.in.new", b'{"kind":"of-tomorrow"}', {})
    turn = await thread.say("finish")
    assert (await thread.ended(turn)).inputs == (turn,)

    async def buried() -> bool:
        return len(await read(bus, DEADLETTER.name, ["dead.scheduler.>"])) == 2

    await until(buried)
    assert len(await thread.ends()) == 1


async def test_a_warm_worker_has_the_assignment_within_milliseconds(bus, scheduler) -> None:
    """From before the input is stored to the assignment's making; the median of ten."""
    await scheduler(max_workers=20, turns_per_window=20, launch_timeout=30)
    took: list[float] = []

    async def note(message) -> None:
        took.append(Assignment.decode(message.data).issued_at.timestamp() - said_at.timestamp())

    await bus.client.subscribe("work.default", cb=note)
    for n in range(10):
        thread = Thread(bus, user=f"U{n}")
        said_at = now()
        await thread.ended(await thread.say("finish"))
    print("milliseconds:", [round(1000 * each, 1) for each in took])
    # A few milliseconds on a quiet machine; the bound leaves room for a busy one.
    assert sorted(took)[5] < 0.1


async def test_a_session_keeps_the_branch_of_its_first_turn(bus, scheduler) -> None:
    found: asyncio.Queue[str | None] = asyncio.Queue()

    async def look(message) -> None:
        found.put_nowait(Assignment.decode(message.data).branch)

    await bus.client.subscribe("work.default", cb=look)
    await scheduler()
    thread = Thread(bus)
    first = 0
    for number in range(3):
        turn = await thread.say("finish")
        first = first or turn
        await thread.ended(turn)
        await thread.close()
        assert await asyncio.wait_for(found.get(), 10) == (f"of-{first}" if number else None)
        await until(partial(left, bus, thread))


async def left(bus, thread) -> bool:
    return (await Bucket(bus, LEASES.name, Lease).get(str(thread.key))).value is None
