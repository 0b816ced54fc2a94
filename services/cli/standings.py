"""How every session stands, as the buckets show it: read for `turns`, `leases` and `doctor --live`."""

import asyncio
import os
from collections.abc import Mapping

from schemas.base import now
from schemas.buckets import Lease, Turns
from schemas.bus import LEASES, TURNS
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.settings import load
from services.scheduler.settings import SchedulerSettings
from services.scheduler.stuck import Seen, Stuck, stuck

# A look may meet a session between two steps of its scheduler, which take milliseconds.
SECOND_LOOK_SECONDS = 2.0


def rules() -> SchedulerSettings:
    """Return the scheduler's rules, as far as the environment says them here too. Raises `SettingsError`."""
    return load(SchedulerSettings, os.environ, prefix="THREADMILL_SCHEDULER_")


async def seen_sessions(bus: Bus) -> dict[str, Seen]:
    """Return every session that has a memory or a lease, by its key. Raises `Unavailable`."""
    leases = {entry.key: entry.value for entry in await Bucket(bus, LEASES.name, Lease).entries()}
    memories = {entry.key: entry for entry in await Bucket(bus, TURNS.name, Turns).entries()}
    return {
        key: Seen(
            memory=(memories[key].value if key in memories else None) or Turns(),
            lease=leases.get(key),
            stored_at=memories[key].stored_at if key in memories else None,
        )
        for key in sorted(memories | leases)
    }


def stuck_among(sessions: Mapping[str, Seen], by: SchedulerSettings) -> dict[str, Stuck]:
    """Return what is stuck, by its session's key. Pure but for the clock."""
    at = now()
    found = {key: stuck(seen, at, by) for key, seen in sessions.items()}
    return {key: one for key, one in found.items() if one}


async def look(bus: Bus, by: SchedulerSettings) -> tuple[dict[str, Seen], dict[str, Stuck]]:
    """Return every session, and what is stuck: what a second look still finds so. Raises `Unavailable`."""
    sessions = await seen_sessions(bus)
    first = stuck_among(sessions, by)
    if not first:
        return sessions, {}
    await asyncio.sleep(SECOND_LOOK_SECONDS)
    sessions = await seen_sessions(bus)
    return sessions, {key: one for key, one in stuck_among(sessions, by).items() if key in first}
