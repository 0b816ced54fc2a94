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
from services.runtime.follow import Follow, read
from services.runtime.readers import Made, OwnReaders, Start
from services.runtime.topology import apply_map
from tests.chaos.brokers import Nodes

STATE = "session.T1.C1.1-1.state"
# The node that serves our connection.
OURS = 0


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
    await client.connect(nodes.urls[OURS])
    bus = Bus(client, replicas=3)
    await apply_map(bus)
    yield bus
    await client.close()


async def follower_of(bus: Bus, stream: str, nodes: Nodes) -> int:
    """Return a node that neither leads `stream` nor serves our connection."""
    leader = (await bus.api(f"STREAM.INFO.{stream}", None))["cluster"]["leader"]
    return next(place for place in range(nodes.replicas) if f"n{place}" != leader and place != OURS)


async def store(bus: Bus, count: int) -> int:
    return [await bus.publish_raw(STATE, b"%d" % number, {}) for number in range(count)][-1]


@contextlib.asynccontextmanager
async def one_replica_away(nodes: Nodes, bus: Bus) -> AsyncIterator[None]:
    """What is stored meanwhile one of the replicas still lacks for a moment afterwards."""
    late = nodes.programs[await follower_of(bus, "SESSIONS", nodes)]
    late.send(signal.SIGSTOP)
    yield
    late.send(signal.SIGCONT)


async def test_a_replica_that_was_away_hides_nothing(nodes: Nodes, clustered: Bus) -> None:
    async with one_replica_away(nodes, clustered):
        await store(clustered, 300)
    for _ in range(40):  # each on a replica that the broker draws
        found = await read(clustered, "SESSIONS", [STATE])
        assert [int(each.data) for each in found] == list(range(300))


class Promising(OwnReaders):
    """Promises `more` messages than there are, the first time."""

    more = 0

    async def make(self, stream: str, filters: Sequence[str], start: Start, after: int) -> Made:
        made = await super().make(stream, filters, start, after)
        more, self.more = self.more, 0
        return replace(made, last=made.last + more)


async def test_what_is_known_to_be_stored_is_waited_for_whatever_a_former_leader_says(
    nodes: Nodes, clustered: Bus
) -> None:
    async with one_replica_away(nodes, clustered):
        last = await store(clustered, 300)
    for _ in range(40):
        clustered.readers = readers = Promising(clustered)
        readers.more = -300
        assert len(await read(clustered, "SESSIONS", [STATE], through=last)) == 300


async def test_what_was_removed_before_it_could_be_read_is_waited_for_by_nobody(bus: Bus) -> None:
    await store(bus, 3)
    bus.readers = readers = Promising(bus)
    readers.more = 1
    async with asyncio.timeout(10):
        assert len(await read(bus, "SESSIONS", [STATE])) == 3
    assert not readers.more


async def test_who_follows_hears_what_comes_after_nothing(bus: Bus) -> None:
    async with contextlib.aclosing(Follow(bus, "SESSIONS", [STATE]).deliveries()) as deliveries:
        assert await anext(deliveries) is None
        await store(bus, 1)
        delivery = await anext(deliveries)
        assert delivery is not None
        assert await anext(deliveries) is None
