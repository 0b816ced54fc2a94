"""What is kept at hand of the cluster, whatever becomes of its lists and watches: the API server is played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.runtime.errors import Unavailable
from services.scheduler.jobs import mirror as mirrors
from services.scheduler.jobs.cluster import GONE, Refused
from services.scheduler.jobs.mirror import Mirror
from services.scheduler.jobs.objects import Object
from tests.scheduler.until import until


def thing(uid: str, version: str = "1") -> Object:
    return {"metadata": {"uid": uid, "resourceVersion": version}}


class Played:
    """Lists `there`; a watch yields what is put into `events`, raises what is an error, and ends at None."""

    def __init__(self, *there: Object) -> None:
        self.there = list(there)
        self.lists = 0
        self.watched: list[str] = []
        self.events: asyncio.Queue[tuple[str, Object] | Exception | None] = asyncio.Queue()
        self.may_list = asyncio.Event()
        self.may_list.set()

    async def listed(self, kind: str, selector: str) -> tuple[list[Object], str]:
        self.lists += 1
        there = list(self.there)
        await self.may_list.wait()
        return there, str(10 * self.lists)

    async def watch(self, kind: str, selector: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        self.watched.append(version)
        while event := await self.events.get():
            if isinstance(event, Exception):
                raise event
            yield event


Follow = Callable[[Played], Mirror]


@pytest.fixture
async def told() -> list[tuple[str, str]]:
    """What was heard: `there` or `gone`, and of whom."""
    return []


@pytest.fixture
async def follow(told, monkeypatch) -> AsyncIterator[Follow]:
    monkeypatch.setattr(mirrors, "FIRST_BACKOFF", 0.001)
    running: list[asyncio.Task[None]] = []

    def hear(now: Object | None, before: Object | None) -> None:
        told.append(("there" if now else "gone", mirrors.uid_of(now or before or {})))

    def begin(cluster: Played) -> Mirror:
        mirror = Mirror(cluster, "jobs", "all", hear)  # type: ignore[arg-type] (what of it is asked)
        running.append(asyncio.create_task(mirror.run()))
        return mirror

    yield begin
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_what_comes_and_goes_is_heard_once_each(follow, told) -> None:
    cluster = Played(thing("a"))
    await follow(cluster).loaded.wait()
    cluster.events.put_nowait(("ADDED", thing("a")))
    cluster.events.put_nowait(("ADDED", thing("b", "2")))
    cluster.events.put_nowait(("DELETED", thing("a", "3")))
    await until(lambda: ("gone", "a") in told)
    assert told == [("there", "a"), ("there", "b"), ("there", "a"), ("gone", "a")]


@pytest.mark.parametrize(
    ("last", "end"),
    [(("BOOKMARK", thing("", "77")), None), (("ADDED", thing("a", "77")), Unavailable("it restarts"))],
    ids=["it ends after a bookmark", "it breaks after an object"],
)
async def test_a_watch_goes_on_from_the_last_that_it_told(follow, last, end) -> None:
    cluster = Played()
    await follow(cluster).loaded.wait()
    cluster.events.put_nowait(last)
    cluster.events.put_nowait(end)
    await until(lambda: len(cluster.watched) == 2)
    assert (cluster.watched, cluster.lists) == (["10", "77"], 1)


async def test_where_that_is_too_long_ago_it_lists_again_and_tells_what_is_gone(follow, told) -> None:
    cluster = Played(thing("a"), thing("b"))
    await follow(cluster).loaded.wait()
    cluster.there = [thing("b")]
    cluster.events.put_nowait(Refused(GONE, "too old"))
    await until(lambda: len(cluster.watched) == 2)
    assert told == [("there", "a"), ("there", "b"), ("gone", "a")]


async def test_what_is_made_while_a_list_is_under_way_is_not_gone(follow, told) -> None:
    cluster = Played(thing("a"))
    mirror = follow(cluster)
    await mirror.loaded.wait()
    cluster.may_list.clear()
    cluster.events.put_nowait(Refused(GONE, "too old"))
    await until(lambda: cluster.lists == 2)
    mirror.take_in(thing("just made", "11"))
    cluster.may_list.set()
    await until(lambda: len(cluster.watched) == 2)
    assert set(mirror.objects) == {"a", "just made"}
    assert ("gone", "just made") not in told


async def test_what_was_gone_before_its_maker_heard_that_it_was_made_does_not_come_back(follow, told) -> None:
    cluster = Played()
    mirror = follow(cluster)
    await mirror.loaded.wait()
    cluster.events.put_nowait(("ADDED", thing("a", "11")))
    cluster.events.put_nowait(("DELETED", thing("a", "12")))
    await until(lambda: ("gone", "a") in told)
    mirror.take_in(thing("a", "11"))
    assert mirror.objects == {}
