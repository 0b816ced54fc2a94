"""What the worker uses, told every few seconds."""

import asyncio
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
        cpu, memory = _measure(known)
        disk = shutil.disk_usage(data).used
        log.live(
            ResourceSample(lease=log.lease, turn=0, cpu=cpu, memory=memory, memory_limit=_limit(), disk=disk)
        )
        await asyncio.sleep(PERIOD_SECONDS)


def _measure(known: dict[int, psutil.Process]) -> tuple[float, int]:
    own = psutil.Process()
    cpu, memory = 0.0, 0
    for process in (own, *own.children(recursive=True)):
        seen = known.setdefault(process.pid, process)
        try:
            cpu += seen.cpu_percent(None) / 100
            memory += seen.memory_info().rss
        except psutil.Error:
            known.pop(process.pid, None)
    return round(cpu, 3), memory


def _limit() -> int | None:
    """Return the memory limit of the container's control group, None without one."""
    try:
        return int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
