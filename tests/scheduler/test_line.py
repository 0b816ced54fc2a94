"""More turns than workers: they wait in order, and their threads say so."""

import asyncio

import pytest

from schemas.buckets import Lease, OpenTurn, Turns
from schemas.bus import END, LEASES, SESSIONS, TURNS
from schemas.keys import SessionKey
from schemas.live import LIVES, Live, Status
from schemas.work import Assignment
from services.runtime.bucket import Bucket
from services.runtime.errors import Unavailable
from services.runtime.follow import read
from services.scheduler.capacity import Headcount, has_room, surplus, to_launch, waiting_text
from services.scheduler.memories import Memories
from services.scheduler.staff import Staff
from services.scheduler.starting import Starting
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.test_stop import until_claimed
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


def test_places_read_as_people_say_them() -> None:
    assert waiting_text(1) == "is waiting for a free worker (next in line)"
    assert [waiting_text(n).split("(")[1].split(" ")[0] for n in (2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
    ]  # fmt: skip


def test_workers_are_launched_for_starts_and_warm_places_and_never_too_many() -> None:
    assert to_launch(Headcount(), 4, 1) == 1
    assert to_launch(Headcount(spare=1, starting=1, started_here=1), 4, 1) == 1
    assert to_launch(Headcount(busy=3, spare=1, starting=1, started_here=1), 4, 1) == 0
    assert to_launch(Headcount(busy=3, leaving=1), 4, 1) == 0
    assert to_launch(Headcount(busy=2, spare=3), 4, 1) == 0
    assert has_room(Headcount(busy=3), 4)
    assert not has_room(Headcount(busy=3, starting=1), 4)


def test_workers_that_leave_keep_their_places_until_they_are_gone() -> None:
    assert not has_room(Headcount(busy=3, leaving=1), 4)
    assert has_room(Headcount(busy=2, leaving=1), 4)
    assert has_room(Headcount(busy=2, leaving=1, spare=1), 4)
    assert not has_room(Headcount(busy=2, leaving=1, spare=1, starting=1), 4)


def test_those_are_too_many_that_neither_a_start_nor_a_warm_place_needs() -> None:
    assert surplus(Headcount(spare=3, starting=1), 1) == 1
    assert surplus(Headcount(spare=2, starting=1), 1) == 0
    assert surplus(Headcount(starting=2), 1) == 0


async def heard_statuses(bus, thread: Thread) -> list[str]:
    texts: list[str] = []

    async def hear(message) -> None:
        live = LIVES.decode(message.data)
        if isinstance(live, Status) and live.lease == 0:
            texts.append(live.text)

    await bus.client.subscribe(Live.subject(thread.key), cb=hear)
    await bus.client.flush()
    return texts


async def test_turns_wait_in_the_order_in_which_they_were_said(bus, scheduler) -> None:
    replica = await scheduler(max_workers=1)
    busy, *others = [Thread(bus, user=f"U{n}") for n in range(5)]
    texts = [await heard_statuses(bus, thread) for thread in others]
    first = await busy.say("obey")
    await until_claimed(busy)
    turns = [await thread.say("finish") for thread in others]
    await until(lambda: texts[-1] and "4th" in texts[-1][-1])
    assert [each[-1].split("(")[1] for each in texts] == [
        "next in line)", "2nd in line)", "3rd in line)", "4th in line)",
    ]  # fmt: skip
    await busy.stop()
    for thread, turn in zip(others, turns, strict=True):
        assert (await thread.ended(turn)).outcome == "completed"
    ends = await read(bus, SESSIONS.name, [END])
    assert [int(end.subject.rsplit(".", 1)[1]) for end in ends] == [first, *turns]
    assert [text.split("(")[-1] for text in texts[-1] if "line" in text][-4:] == [
        "4th in line)", "3rd in line)", "2nd in line)", "next in line)",
    ]  # fmt: skip
    assert not replica.launcher.killed


async def test_a_worker_that_only_waits_makes_room(bus, scheduler) -> None:
    replica = await scheduler(max_workers=1)
    idle, other = Thread(bus), Thread(bus)
    await idle.ended(await idle.say("idle"))
    assert (await other.ended(await other.say("finish"))).outcome == "completed"
    assert len(replica.launcher.retired) == 1
    assert (await idle.ended(await idle.say("finish"))).outcome == "completed"


@pytest.fixture
def room_made(monkeypatch) -> asyncio.Event:
    """Set once a turn that has to wait has looked for a worker that could leave."""
    made, make_room = asyncio.Event(), Staff.make_room

    async def noted(self, places: int) -> None:
        await make_room(self, places)
        made.set()

    monkeypatch.setattr(Staff, "make_room", noted)
    return made


async def test_a_worker_keeps_its_place_while_its_turn_is_being_written_down(
    bus, scheduler, monkeypatch, room_made
) -> None:
    replica = await scheduler(max_workers=1)
    busy, other = Thread(bus), Thread(bus)
    writing, may_write, put = asyncio.Event(), asyncio.Event(), Bucket.put

    async def slow(self, key: str, value, *arguments, **more) -> int:
        if key == str(busy.key) and isinstance(value, Turns) and value.open and value.open.lease:
            writing.set()
            await may_write.wait()
        return await put(self, key, value, *arguments, **more)

    monkeypatch.setattr(Bucket, "put", slow)
    turn = await busy.say("obey")
    await writing.wait()
    waiting = await other.say("finish")
    await room_made.wait()
    assert not replica.launcher.retired
    may_write.set()
    await busy.stop()
    assert (await busy.ended(turn)).outcome == "cancelled"
    assert (await other.ended(waiting)).outcome == "completed"


async def test_a_place_is_kept_for_a_start_that_is_being_written_down_though_its_audit_failed(
    bus, scheduler, monkeypatch, room_made
) -> None:
    await scheduler(max_workers=1)
    first, other = Thread(bus), Thread(bus)
    may_write, put, audit = asyncio.Event(), Bucket.put, Starting.audit
    failed = asyncio.Event()

    async def slow(self, key: str, value, *arguments, **more) -> int:
        if key == str(first.key) and isinstance(value, Turns):
            await may_write.wait()
        return await put(self, key, value, *arguments, **more)

    async def fails_once(self, key: SessionKey, turn: OpenTurn) -> None:
        if key == first.key and not failed.is_set():
            failed.set()
            raise Unavailable("the trail is away")
        await audit(self, key, turn)

    monkeypatch.setattr(Bucket, "put", slow)
    monkeypatch.setattr(Starting, "audit", fails_once)
    turn = await first.say("finish")
    await failed.wait()
    waiting = await other.say("finish")
    await room_made.wait()
    may_write.set()
    assert (await first.ended(turn)).outcome == "completed"
    assert (await other.ended(waiting)).outcome == "completed"


async def test_a_worker_whose_turn_is_not_heard_of_yet_keeps_its_place_and_uses_up_no_others(
    bus, scheduler, monkeypatch, room_made
) -> None:
    replica = await scheduler(max_workers=2)
    busy, idle, other = Thread(bus), Thread(bus), Thread(bus)
    turn = await busy.say("obey")
    await until_claimed(busy)
    await idle.ended(await idle.say("idle"))
    waits = (await Bucket(bus, LEASES.name, Lease).get(str(idle.key))).value
    assert waits
    monkeypatch.setattr(Memories, "active", lambda self: iter(()))
    waiting = await other.say("finish")
    await room_made.wait()
    assert replica.launcher.retired == [waits.holder]
    monkeypatch.undo()
    assert (await other.ended(waiting)).outcome == "completed"
    await busy.stop()
    assert (await busy.ended(turn)).outcome == "cancelled"


async def test_there_are_never_more_workers_than_allowed(bus, scheduler) -> None:
    replica = await scheduler(max_workers=2, warm=2)
    threads = [Thread(bus, user=f"U{n}") for n in range(12)]
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, len(replica.launcher.workers()))
            await asyncio.sleep(0.001)

    counting = asyncio.create_task(count())
    turns = await asyncio.gather(*(thread.say("finish") for thread in threads))
    ends = await asyncio.gather(*(t.ended(turn, within=30) for t, turn in zip(threads, turns, strict=True)))
    counting.cancel()
    assert {end.outcome for end in ends} == {"completed"}
    assert {end.attempt for end in ends} == {1}
    assert most <= 2


async def test_a_place_that_is_full_has_turns_stand_in_line_and_costs_no_attempt(bus, scheduler) -> None:
    replica = await scheduler(warm=0)
    replica.launcher.full = True
    thread = Thread(bus)
    texts = await heard_statuses(bus, thread)
    turn = await thread.say("finish")
    await until(lambda: any("next in line" in text for text in texts))
    assert not replica.launcher.launched
    replica.launcher.full = False
    end = await thread.ended(turn)
    assert (end.outcome, end.attempt) == ("completed", 1)


async def test_a_thread_is_told_why_its_worker_does_not_come(bus, scheduler) -> None:
    replica = await scheduler(max_attempts=1, launch_timeout=6, warm=0)
    replica.launcher.away = True
    thread = Thread(bus)
    texts = await heard_statuses(bus, thread)
    turn = await thread.say("finish")
    await until(lambda: "is starting a worker..." in texts)
    replica.launcher.trouble.put_nowait("its image cannot be pulled")
    await until(lambda: "is starting a worker: its image cannot be pulled" in texts)
    end = await thread.ended(turn, within=30)
    assert end.outcome == "failed"
    assert end.reason.endswith("No worker came in time: its image cannot be pulled.")


async def test_a_thread_is_told_why_its_worker_was_lost(bus, scheduler) -> None:
    replica = await scheduler(max_attempts=2)
    replica.launcher.reason = "it ran out of memory"
    handed_out: list[Assignment] = []

    async def see(message) -> None:
        handed_out.append(Assignment.decode(message.data))

    await bus.client.subscribe("work.*", cb=see)
    thread = Thread(bus)
    turn = await thread.say("die 9")
    end = await thread.ended(turn)
    assert end.reason.endswith("The worker was lost: it ran out of memory.")
    assert [each.trouble for each in handed_out] == ["", "The worker was lost: it ran out of memory."]


async def test_workers_that_nobody_has_needed_for_a_while_leave(bus, scheduler, monkeypatch) -> None:
    monkeypatch.setattr("services.scheduler.hiring.SURPLUS_SECONDS", 0.2)
    launcher = TaskLauncher(bus.client.connected_url.geturl())
    for _ in range(3):
        await launcher.launch("default")
    await scheduler(launcher, warm=1)
    await until(lambda: len(launcher.retired) == 2)


async def test_a_worker_that_takes_its_time_to_come_costs_no_attempt(bus, scheduler) -> None:
    replica = await scheduler(max_attempts=1, launch_timeout=0.5, warm=0)
    replica.launcher.away = replica.launcher.patient = True
    thread = Thread(bus)
    turn = await thread.say("finish")
    memories = Bucket(bus, TURNS.name, Turns)

    async def started_again() -> bool:
        memory = (await memories.get(str(thread.key))).value
        return memory is not None and memory.open is not None and memory.open.start >= 3

    await until(started_again)
    replica.launcher.away = False
    await replica.launcher.launch("default")
    end = await thread.ended(turn)
    assert (end.outcome, end.attempt) == ("completed", 1)
