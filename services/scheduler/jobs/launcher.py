"""Workers as Jobs: made, followed, adopted by whichever replica of the scheduler is there."""

import asyncio
from collections.abc import AsyncIterator, Collection

import structlog

from schemas.base import now
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.jobs.cluster import CONFLICT, Cluster, Refused
from services.scheduler.jobs.deletions import Deletions
from services.scheduler.jobs.job import job_of, labels_of
from services.scheduler.jobs.marks import Marks
from services.scheduler.jobs.mirror import Mirror, uid_of
from services.scheduler.jobs.naming import next_name, uid_of_worker, worker_of
from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.pods import Pods
from services.scheduler.jobs.pools import Pools
from services.scheduler.jobs.reasons import farewell
from services.scheduler.jobs.state import has_begun, has_ended, is_leaving, is_older
from services.scheduler.jobs.waiting import Waiting
from services.scheduler.launcher import Exit, LaunchFailed

log = structlog.get_logger(__name__)


class JobLauncher:
    """Launches the workers of `pool` in `cluster`, and knows those that other replicas launched."""

    shared = True

    def __init__(self, cluster: Cluster, pools: Pools, pool: str) -> None:
        self._cluster = cluster
        self._pools = pools
        self._template = pools.pools[pool].template
        selector = ",".join(f"{key}={value}" for key, value in labels_of(pool).items())
        self._jobs = Mirror(cluster, "jobs", selector, self._job_changed)
        self._pods = Mirror(cluster, "pods", selector, self._pod_changed)
        self._pods_of = Pods()
        self._waiting = Waiting(cluster, self._pods_of.of)
        self._marks = Marks(cluster, self._pods_of.of)
        self._since = now().isoformat()
        self._deletions = Deletions(cluster, self._running)
        self._ended: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()

    async def run(self) -> None:
        """Follow the cluster for ever."""
        async with asyncio.TaskGroup() as tasks:
            for each in (self._jobs, self._pods, self._waiting, self._marks, self._deletions):
                tasks.create_task(each.run(), name=type(each).__name__)

    async def recover(self) -> None:
        """Adopt the Jobs that there are."""
        await self._pods.loaded.wait()
        await self._jobs.loaded.wait()

    async def launch(self, pool: str) -> str:
        """Make a Job for one more worker of `pool` and return the worker's name. Raises `LaunchFailed`.

        Where another replica was faster it is its Job, and one all the same.
        """
        self._waiting.tried()
        known = {job["metadata"]["name"] for job in self._jobs.objects.values()}
        name = next_name(pool, self._template, known)
        try:
            job = await self._made(name, pool)
        except (Refused, Unavailable) as e:
            self._waiting.not_made(str(e) if isinstance(e, Refused) else "")
            raise LaunchFailed(f"a worker's job could not be made: {e}") from e
        self._jobs.take_in(job)
        return worker_of(uid_of(job))

    async def kill(self, name: str) -> bool:
        """Have the worker's Job deleted: its node ends the Pod, and nobody here sees when."""
        await self.retire(name)
        return False

    async def retire(self, name: str) -> bool:
        """Have the worker's Job deleted: its Pod is told to end, and hands over within its grace period."""
        uid = uid_of_worker(name)
        if uid not in self._running():
            return False
        self._deletions.want(uid)
        return True

    async def terminate_all(self, grace: float) -> None:
        """Leave all as they are: another replica has them, or this one when it is back."""

    def workers(self) -> Collection[str]:
        """Return the names of the workers whose Jobs have not ended."""
        return {worker_of(uid) for uid in self._running()}

    def outdated(self) -> Collection[str]:
        """Return those of another template that a scheduler made which began before this one."""
        jobs = self._running().items()
        return {worker_of(uid) for uid, job in jobs if is_older(job, self._template, self._since)}

    def leaving(self) -> Collection[str]:
        """Return those whose Job was deleted."""
        return {worker_of(uid) for uid, job in self._running().items() if is_leaving(job)}

    def coming(self) -> Collection[str]:
        """Return those whose Pod is not there yet, or waits for something."""
        return {worker_of(uid) for uid in self._running() if not has_begun(self._pods_of.of(uid))}

    def is_full(self) -> bool:
        """Tell whether the quota is used up, for all that is known."""
        return self._waiting.is_full()

    def may_try(self) -> bool:
        """Tell whether a Job may be made: while the quota is used up, one now and then."""
        return self._waiting.may_try()

    def is_coming(self) -> bool:
        """Tell whether a Job's Pod is not up yet, and may be with more time."""
        return self._waiting.is_coming()

    def working(self, name: str, session: SessionKey) -> None:
        """Mark the worker's Pod with its session."""
        self._marks.working(uid_of_worker(name), str(session))

    async def exited(self) -> AsyncIterator[Exit]:
        """Yield each worker whose Job has ended or is gone, for ever."""
        while True:
            uid, job = await self._ended.get()
            yield Exit(worker_of(uid), farewell(await self._pods_of.last_word(uid), job))
            self._pods_of.forget(uid)

    def troubles(self) -> AsyncIterator[str]:
        """Yield why workers do not come, for ever."""
        return self._waiting.troubles()

    async def _made(self, name: str, pool: str) -> Object:
        try:
            return await self._cluster.create_job(job_of(name, pool, self._pools, self._since))
        except Refused as e:
            if e.status != CONFLICT:
                raise
            if job := await self._cluster.job(name):
                return job
            raise

    def _running(self) -> dict[str, Object]:
        return {uid: job for uid, job in self._jobs.objects.items() if not has_ended(job)}

    def _job_changed(self, job: Object | None, before: Object | None) -> None:
        known = job or before
        assert known is not None
        uid = uid_of(known)
        self._waiting.job_changed(job, uid)
        was_over = before is not None and has_ended(before)
        if (job is None or has_ended(job)) and not was_over:
            self._marks.forget(uid)
            self._ended.put_nowait((uid, known))

    def _pod_changed(self, pod: Object | None, before: Object | None) -> None:
        job = self._pods_of.changed(pod, before)
        if pod is not None:
            self._waiting.pod_changed(pod, job)
            self._marks.pod_changed(job)
        elif job not in self._running():
            self._pods_of.forget(job)
