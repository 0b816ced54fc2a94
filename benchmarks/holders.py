"""Workers of many sessions as far as the bus is concerned: each holds a lease and renews it (`python -m benchmarks.holders`)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import uvloop

from benchmarks.child import tell, told, until_ended
from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.bus import TURNS
from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict
from services.runtime.tasks import cancel
from services.worker.lease import RENEW_SECONDS, HeldLease, acquire

ADA = Person(id="U1")
AT_ONCE = 100


class Holders(msgspec.Struct, kw_only=True):
    """How many sessions of which channel; with `working` each has a turn open."""

    nats_url: str
    channel: str
    count: int
    working: bool = False


async def _main(holders: Holders) -> None:
    client = await open_connection(BusSettings(url=holders.nats_url), "holders", lambda: None)
    bus = Bus(client)
    leases = [lease async for lease in _opened(bus, holders)]
    renewing = [
        asyncio.create_task(_renew(lease, RENEW_SECONDS * place / len(leases)))
        for place, lease in enumerate(leases)
    ]
    tell(True)
    await until_ended()
    await cancel(*renewing)
    await close_connection(client)


async def _opened(bus: Bus, holders: Holders) -> AsyncIterator[HeldLease]:
    for first in range(0, holders.count, AT_ONCE):
        some = range(first, min(first + AT_ONCE, holders.count))
        for lease in await asyncio.gather(*(_open(bus, holders, number) for number in some)):
            yield lease


async def _open(bus: Bus, holders: Holders, number: int) -> HeldLease:
    key = SessionKey("T1", holders.channel, f"{number}-1")
    said = Said(id=f"{number}-1", user=ADA, text="please")
    turn = await bus.publish(Draft(subject=said.subject(key), message=said, fence=Fence(0)))
    lease = await acquire(bus, key, f"w-{holders.channel}-{number}")
    assert lease
    opened = OpenTurn(
        turn=turn, user=ADA, opened_at=now(), deadline=now() + timedelta(hours=1), start=1, lease=lease.token
    )
    await _remember(bus, key, Turns(heard=turn, open=opened if holders.working else None))
    return lease


async def _remember(bus: Bus, key: SessionKey, memory: Turns) -> None:
    """Write what the scheduler would remember, over what it does already."""
    memories = Bucket(bus, TURNS.name, Turns)
    while True:
        entry = await memories.get(str(key))
        with contextlib.suppress(Conflict):
            await memories.put(str(key), memory, entry.revision)
            return


async def _renew(lease: HeldLease, after: float) -> None:
    async def unmoved() -> bool:
        return True

    await asyncio.sleep(after)
    await lease.renew_for_ever(unmoved)


if __name__ == "__main__":
    uvloop.run(_main(told(Holders)))
