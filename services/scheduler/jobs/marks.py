"""Marks on the Pods of workers that work: whose they are, and that no autoscaler may take their node."""

import asyncio
from collections.abc import Callable

import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Refused
from services.scheduler.jobs.job import SAFE_TO_EVICT, SESSION_ANNOTATION
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.state import session_of

log = structlog.get_logger(__name__)

# A start needs the processors itself, unless its Pod changes just then: no autoscaler decides so soon, and who had a session
# is known by its grant.
MARK_AFTER_SECONDS = 1.0
AGAIN_SECONDS = 1.0


class Marks:
    """Marks Pods in the background. `pod_of` returns the Pod of a Job by its uid."""

    def __init__(self, cluster: Cluster, pod_of: Callable[[str], Object | None]) -> None:
        self._cluster = cluster
        self._pod_of = pod_of
        self._sessions: dict[str, str] = {}
        self._due: asyncio.Queue[str] = asyncio.Queue()

    def working(self, job: str, session: str) -> None:
        """The worker in the Job with the uid `job` has `session`."""
        if self._sessions.get(job) != session:
            self._sessions[job] = session
            self._mark_in(MARK_AFTER_SECONDS, job)

    def pod_changed(self, job: str) -> None:
        """The Pod of `job` is there, or another."""
        if job in self._sessions:
            self._due.put_nowait(job)

    def forget(self, job: str) -> None:
        """The Job is gone."""
        self._sessions.pop(job, None)

    async def run(self) -> None:
        """Mark for ever."""
        while True:
            job = await self._due.get()
            pod, session = self._pod_of(job), self._sessions.get(job)
            if pod is None or session is None or session_of(pod) == session:
                continue
            try:
                marks = {SAFE_TO_EVICT: "false", SESSION_ANNOTATION: session}
                await self._cluster.annotate_pod(pod["metadata"]["name"], marks)
            except (Unavailable, Refused) as e:
                log.warning("a worker's pod cannot be marked", session=session, error=str(e))
                self._mark_in(AGAIN_SECONDS, job)

    def _mark_in(self, seconds: float, job: str) -> None:
        asyncio.get_running_loop().call_later(seconds, self._due.put_nowait, job)
