"""Reading a stream in order: what is called complete has everything that was stored, wherever it is read from."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from services.runtime.bus import Bus
from services.runtime.follow import LAG_SECONDS, Follow, read
from services.runtime.readers import Made, OwnReaders, Start
from services.runtime.topology import apply_map
from tests.chaos.brokers import Nodes

STATE = "session.T1.C1.1-1.state"


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    nodes = Nodes(tmp_path / "cluster", 3)
    try:
        await nodes.start()
        yield nodes
    finally:
        for program in nodes.programs:
            await program.stop()


@pytest.fixture
async def clustered(nodes: Nodes) -> AsyncIterator[Bus]:
    client = Client()
    await nodes.connect(client)
    bus = Bus(client, replicas=3)
    await apply_map(bus)
    yield bus
    await client.close()


async def follower_of(bus: Bus, stream: str, nodes: Nodes) -> int:
    """Return a node that neither leads `stream` nor serves our connection."""
    leader = (await bus.api(f"STREAM.INFO.{stream}", None))["cluster"]["leader"]
    ours = nodes.urls.index(bus.client.connected_url.geturl())  # type: ignore[union-attr]
    return next(place for place in range(nodes.replicas) if f"n{place}" != leader and place != ours)


async def store(bus: Bus, count: int) -> None:
    for number in range(count):
        await bus.publish_raw(STATE, b"%d" % number, {})


async def test_a_replica_that_was_away_hides_nothing(nodes: Nodes, clustered: Bus) -> None:
    late = nodes.programs[await follower_of(clustered, "SESSIONS", nodes)]
    late.send(signal.SIGSTOP)
    await store(clustered, 300)
    late.send(signal.SIGCONT)
    for _ in range(40):  # each on a replica that the broker draws
        found = await read(clustered, "SESSIONS", [STATE])
        assert [int(each.data) for each in found] == list(range(300))


class Boasting(OwnReaders):
    """Promises one message more than there is, once: it was removed before it could be read."""

    promised = 0

    async def make(
        self, stream: str, filters: Sequence[str], start: Start, after: int, *, once: bool
    ) -> Made:
        made = await super().make(stream, filters, start, after, once=once)
        self.promised += 1
        return replace(made, last=made.last + 1) if self.promised == 1 else made


async def test_what_was_removed_before_it_could_be_read_is_waited_for_by_nobody(bus: Bus) -> None:
    await store(bus, 3)
    bus.readers = Boasting(bus)
    async with asyncio.timeout(10 * LAG_SECONDS):
        assert len(await read(bus, "SESSIONS", [STATE])) == 3


async def test_where_nothing_is_stored_no_consumer_is_made(bus: Bus) -> None:
    await store(bus, 1)
    assert await read(bus, "SESSIONS", [STATE], after=1) == []
    assert await read(bus, "SESSIONS", ["session.T1.C1.2-2.state"]) == []
    assert (await bus.api("STREAM.INFO.SESSIONS", None))["state"]["consumer_count"] == 2  # the services' own


async def test_who_follows_hears_what_comes_after_nothing(bus: Bus) -> None:
    async with contextlib.aclosing(Follow(bus, "SESSIONS", [STATE]).deliveries()) as deliveries:
        assert await anext(deliveries) is None
        await store(bus, 1)
        delivery = await anext(deliveries)
        assert delivery is not None
        assert await anext(deliveries) is None
