"""Reading the log for partitions that come and go."""

import asyncio

from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.people import Person
from services.ingress.writer.partition import partition_of
from services.ingress.writer.reader import Reader
from services.ingress.writer.samples import Samples
from services.runtime.bus import Bus, Draft
from services.runtime.tasks import cancel

OURS, TAKEN_LATER = SessionKey("T1", "C1", "1-0"), SessionKey("T1", "C2", "1-0")


class Partition:
    """Notes what it is given, as a partition does that begins at `taken`."""

    def __init__(self, taken: int) -> None:
        self.taken = taken
        self.given: list[int] = []
        self.changed = asyncio.Event()

    def take(self, key: SessionKey, sequence: int, leaf: str, payload: bytes, *, first: bool) -> None:
        if sequence > self.taken:
            self.given.append(sequence)
            self.passed(sequence)

    def passed(self, sequence: int) -> None:
        self.taken = max(self.taken, sequence)
        self.changed.set()

    async def until(self, taken: int) -> None:
        async with asyncio.timeout(20):
            while self.taken < taken:
                self.changed.clear()
                await self.changed.wait()


async def say(bus: Bus, key: SessionKey, number: int) -> int:
    said = Said(id=f"m{number}", user=Person(id="U1"), text="hello")
    return await bus.publish(Draft(subject=said.subject(key), message=said, session=str(key)))


async def test_a_partition_taken_while_others_are_read_misses_nothing(bus: Bus) -> None:
    assert partition_of(OURS) != partition_of(TAKEN_LATER)
    ours, later = Partition(0), Partition(0)
    partitions = {partition_of(OURS): ours}
    reader = Reader(bus, lambda: partitions, Samples())
    reading = asyncio.create_task(reader.run())
    missed = await say(bus, TAKEN_LATER, 1)
    await ours.until(await say(bus, OURS, 2))
    # It is ours, and the reader has not heard so yet.
    partitions[partition_of(TAKEN_LATER)] = later
    next_ = await say(bus, TAKEN_LATER, 3)
    await ours.until(await say(bus, OURS, 4))
    reader.changed()
    await later.until(next_)
    await cancel(reading)
    assert later.given == [missed, next_]
