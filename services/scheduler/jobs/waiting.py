"""Jobs whose worker does not come: why, and those that no Pod fits into the quota for."""

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Object, Refused
from services.scheduler.jobs.reasons import QUOTA, may_come, refused, trouble, without_pod
from services.scheduler.jobs.state import has_ended, is_leaving

log = structlog.get_logger(__name__)

# The controller makes a Pod within moments; where there is none by then, its events tell why.
LOOK_AFTER, LOOK_AGAIN = 1.0, 5.0
# After the quota was used up, this long passes until it is tried again.
FULL_SECONDS = 5.0
# In place of a Job's uid: one that could not be made.
UNMADE = ""


class Waiting:
    """Tells of one trouble at a time. `pod_of` returns the Pod of a Job by its uid."""

    def __init__(self, cluster: Cluster, pod_of: Callable[[str], Object | None]) -> None:
        self._cluster = cluster
        self._pod_of = pod_of
        self._jobs: dict[str, Object] = {}
        self._troubles: dict[str, str] = {}
        self._told = ""
        self._tell: asyncio.Queue[str] = asyncio.Queue()
        self._looks: asyncio.Queue[str] = asyncio.Queue()
        self._full_until = 0.0

    def is_full(self) -> bool:
        """Tell whether the quota was used up a moment ago."""
        return asyncio.get_running_loop().time() < self._full_until

    def filled(self) -> None:
        """The quota is used up."""
        self._full_until = asyncio.get_running_loop().time() + FULL_SECONDS

    def is_coming(self) -> bool:
        """Tell whether a Job waits for its Pod, a node or its image, and nothing says that it waits in vain."""
        return any(may_come(self._pod_of(uid)) for uid in self._jobs)

    def not_made(self, refusal: str) -> None:
        """A Job could not be made: the API server gave that `refusal`, or no answer where it is empty."""
        self._trouble(UNMADE, refused(refusal))

    def job_changed(self, job: Object | None, uid: str) -> None:
        """Hear of a Job, None where it is gone."""
        if job is None or has_ended(job) or is_leaving(job):
            self._jobs.pop(uid, None)
            self._trouble(uid, "")
        else:
            self._trouble(UNMADE, "")
            if uid not in self._jobs:
                self._look_later(uid, LOOK_AFTER)
            self._jobs[uid] = job

    def pod_changed(self, pod: Object, job: str) -> None:
        """Hear of the Pod of the Job `job`."""
        if job in self._jobs:
            self._trouble(job, trouble(pod))

    async def troubles(self) -> AsyncIterator[str]:
        """Yield what is the matter at each change, for ever."""
        while True:
            yield await self._tell.get()

    async def run(self) -> None:
        """Ask after Jobs without a Pod, for ever."""
        while True:
            uid = await self._looks.get()
            if uid in self._jobs and self._pod_of(uid) is None:
                try:
                    await self._look(uid, self._jobs[uid]["metadata"]["name"])
                except (Unavailable, Refused) as e:
                    log.warning("a job's events cannot be read", error=str(e))
                self._look_later(uid, LOOK_AGAIN)

    async def _look(self, uid: str, name: str) -> None:
        why = without_pod(await self._cluster.events_of(uid))
        self._trouble(uid, why)
        if why == QUOTA:
            # Its controller would try again for minutes; the turn stands in line here instead.
            self.filled()
            await self._cluster.delete_job(name, uid)

    def _look_later(self, uid: str, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._looks.put_nowait, uid)

    def _trouble(self, uid: str, why: str) -> None:
        if why:
            self._troubles[uid] = why
        else:
            self._troubles.pop(uid, None)
        now = next(iter(self._troubles.values()), "")
        if now != self._told:
            self._told = now
            self._tell.put_nowait(now)
