"""Who writes into which partition: a lease for each, the place in the log beside it, and a fair share for everybody."""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from schemas.buckets import Cursor, PartitionOwner
from schemas.bus import CURSORS, LEASE_LIFE, WRITERS
from services.ingress.writer.partition import PARTITIONS, Partition
from services.ingress.writer.settings import WriterSettings
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import NOT_NOW, Conflict

log = structlog.get_logger(__name__)

MEMBER = "member-"
# A lease that could not be renewed is given up this long before the broker lets it expire.
MARGIN = 3.0


class Owned(msgspec.Struct):
    """A partition of ours: the revisions that its next writes have to expect, and when it was last renewed.

    `writing` keeps our own writes from overtaking each other.
    """

    partition: Partition
    lease: int
    cursor: int
    renewed: float
    saved: int
    writing: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)


class Leases:
    """Takes partitions, keeps them, saves their places, gives some up when others come."""

    def __init__(
        self,
        bus: Bus,
        settings: WriterSettings,
        make: Callable[[int, int], Partition],
        changed: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._make = make
        self._changed = changed
        self._writers = Bucket(bus, WRITERS.name, PartitionOwner)
        self._cursors = Bucket(bus, CURSORS.name, Cursor)
        self._me = PartitionOwner(holder=f"{socket.gethostname()}-{os.getpid()}-{bus.new_id()}")
        self._member = f"{MEMBER}{bus.new_id()}"
        self._member_revision = 0
        self._owned: dict[int, Owned] = {}

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """The partitions that are ours now."""
        return {number: owned.partition for number, owned in self._owned.items()}

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self._settings.survey_every, self._survey), name="survey")
            tasks.create_task(self._every(self._settings.renew_every, self._renew), name="renew")
            tasks.create_task(self._every(self._settings.save_every, self._save), name="save")

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (Conflict, *NOT_NOW) as e:
                log.warning("leases are tried again", error=str(e))
            await asyncio.sleep(seconds)

    # --- taking and giving up ---------------------------------------------------------------------------------------

    async def _survey(self) -> None:
        """Take what is free up to a fair share; give up what is more than that."""
        if not self._member_revision:
            entry = await self._writers.get(self._member)
            self._member_revision = await self._writers.put(self._member, self._me, entry.revision)
        entries = {entry.key for entry in await self._writers.entries()}
        members = sum(key.startswith(MEMBER) for key in entries)
        share = math.ceil(PARTITIONS / max(1, members))
        for number in sorted(self._owned)[share:]:
            await self.release(number)
        free = [
            number
            for number in range(PARTITIONS)
            if _key(number) not in entries and number not in self._owned
        ]
        before = set(self._owned)
        try:
            for number in free[: max(0, share - len(before))]:
                await self._take(number)
        finally:
            # Those that were taken before one could not be are to be read like any.
            if set(self._owned) - before:
                self._changed()

    async def _take(self, number: int) -> None:
        try:
            lease = await self._writers.create(_key(number), self._me)
            cursor = await self._cursors.get(_key(number))
            # Whoever had it meanwhile may have saved that place, unless it is ours even now.
            now = _now()
            lease = await self._writers.put(_key(number), self._me, lease)
        except Conflict:
            return
        if _now() > now + LEASE_LIFE - MARGIN:
            await self._give_back(_key(number), lease)
            return
        place = cursor.value.sequence if cursor.value else 0
        partition = self._make(number, place)
        self._owned[number] = Owned(partition, lease, cursor.revision, now, place)
        log.info("partition taken", partition=number, position=place)

    async def release(self, number: int) -> None:
        """Finish what is begun in a partition, then leave it to others."""
        owned = self._owned[number]
        await owned.partition.drain(self._settings.drain_within)
        await self._save_one(number, owned)
        async with owned.writing:
            if self._owned.pop(number, None):
                await owned.partition.close()
                await self._give_back(_key(number), owned.lease)

    async def release_all(self) -> None:
        """Leave everything to others."""
        await asyncio.gather(*(self.release(number) for number in list(self._owned)))
        await self._give_back(self._member, self._member_revision)

    async def _give_back(self, key: str, lease: int) -> None:
        with contextlib.suppress(Conflict, *NOT_NOW):
            await self._writers.delete(key, lease)

    async def close(self) -> None:
        """Stop writing at once, without a word to anybody."""
        owned, self._owned = self._owned, {}
        await asyncio.gather(*(each.partition.close() for each in owned.values()))

    # --- keeping ----------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        await asyncio.gather(
            self._renew_member(), *(self._renew_one(*each) for each in list(self._owned.items()))
        )

    async def _renew_member(self) -> None:
        if self._member_revision:
            try:
                self._member_revision = await self._writers.put(self._member, self._me, self._member_revision)
            except Conflict:
                self._member_revision = 0

    async def _renew_one(self, number: int, owned: Owned) -> None:
        async with owned.writing:
            if number not in self._owned:
                return
            now, until = _now(), owned.renewed + LEASE_LIFE - MARGIN
            try:
                owned.lease = await self._writers.put(
                    _key(number), self._me, owned.lease, deadline=max(0.5, until - now)
                )
                owned.renewed = now
            except Conflict:
                await self._lose(number, "somebody else has it")
            except NOT_NOW:
                if _now() >= until:
                    await self._lose(number, "it could not be renewed in time")

    async def _lose(self, number: int, why: str) -> None:
        if owned := self._owned.pop(number, None):
            log.warning("partition lost", partition=number, reason=why)
            await owned.partition.close()

    async def _save(self) -> None:
        await asyncio.gather(*(self._save_one(*each) for each in list(self._owned.items())))

    async def _save_one(self, number: int, owned: Owned) -> None:
        async with owned.writing:
            position = owned.partition.position
            if number not in self._owned or position <= owned.saved:
                return
            try:
                owned.cursor = await self._cursors.put(_key(number), Cursor(sequence=position), owned.cursor)
                owned.saved = position
            except Conflict:
                await self._lose(number, "its place was moved by somebody else")


def _key(number: int) -> str:
    return f"p{number:02d}"


def _now() -> float:
    return asyncio.get_running_loop().time()
