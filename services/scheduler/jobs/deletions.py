"""Jobs that are to be deleted, until they are: whoever wants it waits for no API server."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Refused
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.state import is_leaving

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


class Deletions:
    """Deletes Jobs in the background. `running` returns those that have not ended, by uid."""

    def __init__(self, cluster: Cluster, running: Callable[[], Mapping[str, Object]]) -> None:
        self._cluster = cluster
        self._running = running
        self._wanted: set[str] = set()
        self._due: asyncio.Queue[str] = asyncio.Queue()

    def want(self, uid: str) -> None:
        """Have the Job deleted."""
        if uid not in self._wanted:
            self._wanted.add(uid)
            self._due.put_nowait(uid)

    async def run(self) -> None:
        """Delete for ever, each Job until it is gone or leaving."""
        while True:
            uid = await self._due.get()
            job = self._running().get(uid)
            if job is None or is_leaving(job):
                self._wanted.discard(uid)
                continue
            try:
                await self._cluster.delete_job(job["metadata"]["name"], uid)
            except (Refused, Unavailable) as e:
                log.warning("a worker's job cannot be deleted", job=job["metadata"]["name"], error=str(e))
            # Looked at again: the watch tells that it is leaving, or it is tried once more.
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._due.put_nowait, uid)
