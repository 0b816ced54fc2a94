"""What the worker uses, told every few seconds."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import psutil

from schemas.live import ResourceSample
from services.worker.place import Place

PERIOD_SECONDS = 5.0
# CPU is what was used since the look before, so the first look tells nothing yet.
FIRST_AFTER_SECONDS = 1.0


async def sample_for_ever(place: Place, data: Path) -> None:
    """Tell CPU and memory of this process and all that it started, the free disk, and the time that its turn has left."""
    known: dict[int, psutil.Process] = {}
    _measure(known)
    await asyncio.sleep(FIRST_AFTER_SECONDS)
    while True:
        # A process may go while it is looked at; the next sample is soon enough.
        with contextlib.suppress(psutil.Error, OSError):
            place.log.live(_sample(place, known, data))
        await asyncio.sleep(PERIOD_SECONDS)


def _sample(place: Place, known: dict[int, psutil.Process], data: Path) -> ResourceSample:
    cpu, memory = _measure(known)
    running = place.running
    return ResourceSample(
        lease=place.log.lease,
        turn=running.turn if running else 0,
        cpu=cpu,
        memory=memory,
        memory_limit=_limit(),
        disk_free=shutil.disk_usage(data).free,
        seconds_left=running.clock.seconds_left if running else None,
    )


def _measure(known: dict[int, psutil.Process]) -> tuple[float, int]:
    own = psutil.Process()
    present = {process.pid: process for process in (own, *own.children(recursive=True))}
    for pid in known.keys() - present.keys():
        del known[pid]
    cpu, memory = 0.0, 0
    for pid, process in present.items():
        with contextlib.suppress(psutil.Error):
            seen = known.setdefault(pid, process)
            cpu += seen.cpu_percent(None) / 100
            memory += seen.memory_info().rss
    return round(cpu, 3), memory


def _limit() -> int | None:
    """Return the memory limit of the container's control group, None without one."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
