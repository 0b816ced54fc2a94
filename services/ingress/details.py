"""What a session's worker uses, for the one person who asks: the next sample that it sends."""

import asyncio

from schemas.base import MalformedMessage
from schemas.keys import SessionKey
from schemas.live import LIVES, Live, ResourceSample
from services.runtime.bus import Bus

# A worker samples every 5 s.
PATIENCE = 7.0
NOBODY = "No worker is busy with this session right now; the next message starts one."
MIB = 2**20


async def details(bus: Bus, key: SessionKey) -> str:
    """Return a sentence about the session's worker, after `PATIENCE` seconds at the latest."""
    subscription = await bus.client.subscribe(Live.subject(key), pending_msgs_limit=1_000)
    try:
        async with asyncio.timeout(PATIENCE):
            async for message in subscription.messages:
                sample = _sample(message.data)
                if sample:
                    return describe(sample)
    except TimeoutError:
        pass
    finally:
        if not bus.client.is_closed:
            await subscription.unsubscribe()
    return NOBODY


def _sample(payload: bytes) -> ResourceSample | None:
    try:
        live = LIVES.decode(payload)
    except MalformedMessage:
        return None
    return live if isinstance(live, ResourceSample) else None


def describe(sample: ResourceSample) -> str:
    """Return `sample` as people read it."""
    limit = f" of {sample.memory_limit / MIB:,.0f} MB" if sample.memory_limit else ""
    parts = [f"{sample.cpu:.1f} CPU cores", f"{sample.memory / MIB:,.0f} MB{limit} of memory"]
    if sample.disk:
        parts.append(f"{sample.disk / MIB:,.0f} MB of disk")
    if sample.seconds_left is not None:
        parts.append(f"{sample.seconds_left // 60} min {sample.seconds_left % 60} s left")
    return "The worker uses " + ", ".join(parts) + "."
