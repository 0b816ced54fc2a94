"""Who waits after a stop is told so once, and only while that is so."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from schemas.buckets import Lease, Turns
from schemas.bus import LEASES, TURNS
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.telling import Telling
from tests.scheduler.thread import Thread

SINCE = 1


async def stopped(bus: Bus) -> Thread:
    """A thread in which somebody pressed Stop, and what was said waits since."""
    thread = Thread(bus)
    await Bucket(bus, TURNS.name, Turns).put(str(thread.key), Turns(paused=True, untold_since=SINCE), 0)
    return thread


@pytest.fixture
async def thread(bus: Bus) -> Thread:
    return await stopped(bus)


def telling(bus: Bus, name: str = "a", kind: type[Leases] = Leases) -> Telling:
    return Telling(bus, kind(bus, name, lambda _: None), Memories(bus, lambda _: None))


def slow(meanwhile: Callable[[], Awaitable[object]]) -> type[Leases]:
    """The leases of a scheduler that looks, sleeps while `meanwhile` happens, and takes one."""

    class Slow(Leases):
        async def take(self, key: SessionKey) -> int | None:
            await meanwhile()
            return await super().take(key)

    return Slow


async def test_two_schedulers_at_once_tell_once(bus: Bus) -> None:
    for _ in range(20):
        thread = await stopped(bus)
        told = await asyncio.gather(*(telling(bus, name).tell(thread.key, SINCE) for name in "ab"))
        assert any(told)
        assert await thread.pauses() == 1


async def test_what_is_told_already_needs_no_lease(bus: Bus, thread: Thread) -> None:
    assert await telling(bus).tell(thread.key, SINCE)
    assert await telling(bus, "b").tell(thread.key, SINCE)
    assert (await thread.pauses(), await thread.claims()) == (1, 1)


async def test_a_scheduler_that_decided_long_ago_is_in_nobodys_way(bus: Bus, thread: Thread) -> None:
    assert not await telling(bus).tell(thread.key, SINCE + 1)
    assert (await thread.pauses(), await thread.claims()) == (0, 0)
    lease = await Bucket(bus, LEASES.name, Lease).get(str(thread.key))
    assert lease.revision == 0


async def test_what_another_one_told_meanwhile_is_not_told_again(bus: Bus, thread: Thread) -> None:
    late = slow(lambda: telling(bus, "b").tell(thread.key, SINCE))
    assert await telling(bus, kind=late).tell(thread.key, SINCE)
    assert await thread.pauses() == 1


async def test_nor_is_anything_where_somebody_spoke_meanwhile(bus: Bus, thread: Thread) -> None:
    memories = Bucket(bus, TURNS.name, Turns)
    revision = (await memories.get(str(thread.key))).revision
    late = slow(lambda: memories.put(str(thread.key), Turns(), revision))
    assert not await telling(bus, kind=late).tell(thread.key, SINCE)
    assert (await thread.pauses(), await thread.claims()) == (0, 0)


async def test_where_a_worker_holds_the_session_it_is_tried_again_later(bus: Bus, thread: Thread) -> None:
    await Bucket(bus, LEASES.name, Lease).create(str(thread.key), Lease(holder="w-1"))
    assert not await telling(bus).tell(thread.key, SINCE)
    assert await thread.pauses() == 0
