"""The one place where what runs workers in a cluster is put together."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from services.runtime.errors import SettingsError
from services.scheduler.jobs.cluster import Cluster
from services.scheduler.jobs.gate import JobGate
from services.scheduler.jobs.launcher import JobLauncher
from services.scheduler.jobs.pools import Pools


@dataclass(frozen=True)
class Jobs:
    """Launches workers, and knows them when they knock."""

    launcher: JobLauncher
    gate: JobGate


@contextlib.asynccontextmanager
async def jobs_in(path: Path, image: str, account: Path, pool: str) -> AsyncIterator[Jobs]:
    """Have the Jobs of `pool`, as the file `path` tells, of the cluster that we are in. Raises `SettingsError`."""
    pools = Pools.read(path, image)
    if pool not in pools.pools:
        raise SettingsError(f"THREADMILL_SCHEDULER_POOL is {pool}, which {path} does not tell of")
    cluster = Cluster.inside(pools.namespace, account)
    try:
        yield Jobs(JobLauncher(cluster, pools, pool), JobGate(cluster, pools))
    finally:
        await cluster.close()
