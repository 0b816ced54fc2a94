"""What the worker uses, told every few seconds."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import psutil

from schemas.live import ResourceSample
from services.worker.session_log import SessionLog

PERIOD_SECONDS = 5.0


async def sample_for_ever(log: SessionLog, data: Path) -> None:
    """Tell CPU, memory and disk of this process and all that it started."""
    known: dict[int, psutil.Process] = {}
    while True:
        # A process may go while it is looked at; the next sample is soon enough.
        with contextlib.suppress(psutil.Error, OSError):
            log.live(_sample(log.lease, known, data))
        await asyncio.sleep(PERIOD_SECONDS)


def _sample(lease: int, known: dict[int, psutil.Process], data: Path) -> ResourceSample:
    cpu, memory = _measure(known)
    disk = shutil.disk_usage(data).used
    return ResourceSample(lease=lease, turn=0, cpu=cpu, memory=memory, memory_limit=_limit(), disk=disk)


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
