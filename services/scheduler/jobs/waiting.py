"""Jobs whose worker does not come: why, and those that no Pod fits into the quota for."""

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import Cluster, Refused
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.reasons import (
    AWAY,
    NO_NODE,
    QUOTA,
    is_quota,
    may_come,
    not_begun,
    refused,
    trouble,
    without_pod,
)
from services.scheduler.jobs.state import has_begun, has_ended, is_leaving

log = structlog.get_logger(__name__)

# The controller makes a Pod within moments; where there is none by then, its events tell why.
LOOK_AFTER, LOOK_AGAIN = 1.0, 5.0
# A Pod that is placed is asked after only so much later: its image may be large, and a first mount that fails is tried again.
LOOK_AT_POD = 20.0
# After the quota was used up, this long passes until a worker is tried again.
FULL_SECONDS = 5.0
# That a Job could not be made is told for so long, unless it happens again.
UNMADE_SECONDS = 30.0
# A node that was not added in this time is not on its way.
COMING_SECONDS = 600.0
# In place of a Job's uid: one that could not be made, and the quota.
UNMADE, FULL = "unmade", "full"


class Waiting:
    """Tells of one trouble at a time. `pod_of` returns the Pod of a Job by its uid.

    The place is full from the moment when the quota let a Pod in no more until it lets one in again.
    """

    def __init__(self, cluster: Cluster, pod_of: Callable[[str], Object | None]) -> None:
        self._cluster = cluster
        self._pod_of = pod_of
        self._jobs: dict[str, Object] = {}
        self._since: dict[str, float] = {}
        self._with_pod: set[str] = set()
        self._placed: dict[str, float] = {}
        self._troubles: dict[str, str] = {}
        self._told = ""
        self._tell: asyncio.Queue[str] = asyncio.Queue()
        self._looks: asyncio.Queue[str] = asyncio.Queue()
        self._try_at = self._unmade_until = 0.0
        self._full = False

    def is_full(self) -> bool:
        """Tell whether the quota is used up, for all that is known."""
        return self._full

    def may_try(self) -> bool:
        """Tell whether a worker may be launched: while it is full, one now and then."""
        return not self._full or _now() >= self._try_at

    def filled(self) -> None:
        """Hear that the quota is used up."""
        self._full, self._try_at = True, _now() + FULL_SECONDS
        self._trouble(FULL, QUOTA)

    def tried(self) -> None:
        """Hear that a worker is launched."""
        self._try_at = _now() + FULL_SECONDS

    def is_coming(self) -> bool:
        """Tell whether a worker only needs more time: its Pod, a node, its image, or an API server that is away."""
        lately = (uid for uid in self._jobs if _now() < self._since[uid] + COMING_SECONDS)
        patient = (uid for uid in lately if self._troubles.get(uid, NO_NODE).startswith(NO_NODE))
        return self._troubles.get(UNMADE) == AWAY or any(may_come(self._pod_of(uid)) for uid in patient)

    def not_made(self, refusal: str) -> None:
        """A Job could not be made: the API server gave that `refusal`, or no answer where it is empty."""
        if is_quota(refusal):
            return self.filled()
        self._unmade_until = _now() + UNMADE_SECONDS
        asyncio.get_running_loop().call_later(UNMADE_SECONDS, self._made_again)
        return self._trouble(UNMADE, refused(refusal))

    def job_changed(self, job: Object | None, uid: str) -> None:
        """Hear of a Job, None where it is gone."""
        if job is None or has_ended(job) or is_leaving(job):
            self._jobs.pop(uid, None)
            self._since.pop(uid, None)
            self._with_pod.discard(uid)
            self._placed.pop(uid, None)
            self._trouble(uid, "")
            return
        self._trouble(UNMADE, "")
        if uid not in self._jobs:
            self._since[uid] = _now()
            self._look_later(uid, LOOK_AFTER)
        self._jobs[uid] = job

    def pod_changed(self, pod: Object, job: str) -> None:
        """Hear of the Pod of the Job `job`."""
        if job not in self._jobs:
            return
        if job not in self._with_pod:
            self._with_pod.add(job)
            self._full = False
            self._trouble(FULL, "")
        self._trouble(job, trouble(pod))

    async def troubles(self) -> AsyncIterator[str]:
        """Yield what is the matter at each change, for ever."""
        while True:
            yield await self._tell.get()

    async def run(self) -> None:
        """Ask after Jobs without a Pod and Pods that do not begin, for ever."""
        while True:
            uid = await self._looks.get()
            if uid not in self._jobs or has_begun(self._pod_of(uid)):
                continue
            if (early := self._early(uid)) > 0:
                self._look_later(uid, early)
                continue
            try:
                await (self._look_at_pod(uid) if self._pod_of(uid) else self._look(uid))
            except (Unavailable, Refused) as e:
                log.warning("events cannot be read", error=str(e))
            self._look_later(uid, LOOK_AGAIN)

    def _early(self, uid: str) -> float:
        pod = self._pod_of(uid)
        if pod is None or trouble(pod):
            self._placed.pop(uid, None)
            return 0
        return self._placed.setdefault(uid, _now()) + LOOK_AT_POD - _now()

    async def _look(self, uid: str) -> None:
        why = without_pod(await self._cluster.events_of(uid))
        if uid not in self._jobs or self._pod_of(uid):
            return  # it has changed while we asked
        if why != QUOTA:
            self._trouble(uid, why)
            return
        # Its controller would try again for minutes; the turn stands in line here instead.
        self.filled()
        # A Pod that came meanwhile, unheard of here, may work already: its Job is another version by then.
        known = self._jobs[uid]["metadata"]
        await self._cluster.delete_job(known["name"], uid, known["resourceVersion"])

    async def _look_at_pod(self, uid: str) -> None:
        pod = self._pod_of(uid)
        if pod is None or trouble(pod):
            return
        why = not_begun(await self._cluster.events_of(pod["metadata"]["uid"]))
        if uid in self._jobs and not has_begun(self._pod_of(uid)):
            self._trouble(uid, why)

    def _made_again(self) -> None:
        if _now() >= self._unmade_until:
            self._trouble(UNMADE, "")

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


def _now() -> float:
    return asyncio.get_running_loop().time()
