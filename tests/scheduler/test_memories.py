"""What a replica remembers of sessions while it writes, and while another one does."""

import asyncio

import pytest

from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.bus import TURNS
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.errors import Conflict
from services.scheduler.memories import Memories
from tests.scheduler.until import until

KEY = SessionKey("T1", "C1", "1-1")
OPEN = OpenTurn(turn=1, user=Person(id="U1"), opened_at=now(), deadline=now())


def heard_up_to(sequence: int) -> Turns:
    return Turns(open=OPEN, heard=sequence)


def active(memories: Memories) -> dict[SessionKey, Turns]:
    return dict(memories.active())


async def test_a_session_is_there_while_what_is_new_of_it_is_written(bus, monkeypatch) -> None:
    memories, put, may_write = Memories(bus, lambda key: None), Bucket.put, asyncio.Event()
    revision = await memories.put(KEY, heard_up_to(1), 0)

    async def slow(self, *arguments, **more) -> int:
        await may_write.wait()
        return await put(self, *arguments, **more)

    monkeypatch.setattr(Bucket, "put", slow)
    writing = asyncio.create_task(memories.put(KEY, heard_up_to(2), revision))
    await asyncio.sleep(0)
    assert active(memories) == {KEY: heard_up_to(1)}
    may_write.set()
    await writing
    assert active(memories) == {KEY: heard_up_to(2)}


async def test_a_replica_that_was_slower_keeps_what_the_faster_one_wrote(bus, monkeypatch) -> None:
    memories, rival, put = Memories(bus, lambda key: None), Bucket(bus, TURNS.name, Turns), Bucket.put
    following = asyncio.create_task(memories.run())
    revision = await memories.put(KEY, heard_up_to(1), 0)

    async def beaten(self, key: str, value: Turns, known: int, **more) -> int:
        await put(rival, key, heard_up_to(3), known)
        await until(lambda: active(memories) == {KEY: heard_up_to(3)})
        return await put(self, key, value, known, **more)

    monkeypatch.setattr(Bucket, "put", beaten)
    with pytest.raises(Conflict):
        await memories.put(KEY, heard_up_to(2), revision)
    assert active(memories) == {KEY: heard_up_to(3)}
    following.cancel()


async def test_an_acknowledgement_that_comes_late_does_not_bring_the_old_back(bus, monkeypatch) -> None:
    memories, rival, put = Memories(bus, lambda key: None), Bucket(bus, TURNS.name, Turns), Bucket.put
    following = asyncio.create_task(memories.run())

    async def late(self, key: str, value: Turns, known: int, **more) -> int:
        revision = await put(self, key, value, known, **more)
        await put(rival, key, heard_up_to(3), revision)
        await until(lambda: active(memories) == {KEY: heard_up_to(3)})
        return revision

    monkeypatch.setattr(Bucket, "put", late)
    await memories.put(KEY, heard_up_to(2), 0)
    assert active(memories) == {KEY: heard_up_to(3)}
    following.cancel()


async def test_what_is_refused_and_not_heard_of_yet_is_asked_for(bus) -> None:
    memories, rival = Memories(bus, lambda key: None), Bucket(bus, TURNS.name, Turns)
    revision = await memories.put(KEY, heard_up_to(1), 0)
    await rival.put(str(KEY), heard_up_to(3), revision)
    with pytest.raises(Conflict):
        await memories.put(KEY, heard_up_to(2), revision)
    assert (await memories.get(KEY))[0] == heard_up_to(3)


async def test_idle_is_what_the_broker_says(bus) -> None:
    memories, rival = Memories(bus, lambda key: None), Bucket(bus, TURNS.name, Turns)
    assert await memories.is_idle(KEY)
    revision = await rival.put(str(KEY), heard_up_to(1), 0)
    assert not await memories.is_idle(KEY)
    await rival.put(str(KEY), Turns(heard=2), revision)
    assert await memories.is_idle(KEY)
