"""A session's lease, as its holder keeps it."""

import asyncio
import contextlib
import time

from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.lifecycle import cancel
from services.worker.lease import FRESH_SECONDS, RENEW_SECONDS, HeldLease, acquire

KEY = SessionKey("T1", "C1", "1-1")


async def unmoved() -> bool:
    return True


async def test_a_lease_whose_answer_came_late_is_renewed_in_time(bus: Bus) -> None:
    """It began when it was asked for: by the broker's clock it is old already."""
    held = await acquire(bus, KEY, "w-1")
    assert held
    bucket = Bucket(bus, LEASES.name, Lease)
    late = HeldLease(bucket, KEY, "w-1", held.token, time.monotonic() - RENEW_SECONDS)
    assert late.fresh()
    renewing = asyncio.create_task(late.renew_for_ever(unmoved))
    async with asyncio.timeout(RENEW_SECONDS / 2), contextlib.aclosing(bucket.watch()) as entries:
        async for entry in entries:
            if entry and entry.revision > held.token:
                assert entry.value == Lease(holder="w-1", token=held.token, since=entry.value.since)
                break
    await cancel(renewing)
    stale = HeldLease(bucket, KEY, "w-1", held.token, time.monotonic() - FRESH_SECONDS)
    assert not stale.fresh()
