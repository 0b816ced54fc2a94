"""The Pods of Jobs, by the uid of their Job; each is kept until its Job's end is told, since it says why."""

import asyncio
import contextlib

from services.scheduler.jobs.objects import Object
from services.scheduler.jobs.state import job_uid_of, pod_has_ended

# A Job ends after its Pod, and the word of it may come by the other watch first.
LAST_WORD_SECONDS = 1.0


class Pods:
    """What was last heard of each Job's Pod."""

    def __init__(self) -> None:
        self._last: dict[str, Object] = {}
        self._gone: set[str] = set()
        self._awaited: dict[str, asyncio.Event] = {}

    def of(self, job: str) -> Object | None:
        """Return the Pod of `job`, None where there is none or it is gone."""
        return None if job in self._gone else self._last.get(job)

    def changed(self, pod: Object | None, before: Object | None) -> str:
        """Hear of a Pod, None where it is gone; return its Job."""
        known = pod or before
        assert known is not None
        job = job_uid_of(known)
        if pod is None:
            self._gone.add(job)
        else:
            self._gone.discard(job)
            self._last[job] = pod
        if (pod is None or pod_has_ended(pod)) and job in self._awaited:
            self._awaited[job].set()
        return job

    async def last_word(self, job: str) -> Object | None:
        """Return the Pod as it ended, or as it was last heard of, None where there was none."""
        pod = self.of(job)
        if pod is not None and not pod_has_ended(pod):
            ended = self._awaited[job] = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await ended.wait()
            del self._awaited[job]
        return self._last.get(job)

    def forget(self, job: str) -> None:
        """The end of `job` is told."""
        self._last.pop(job, None)
        self._gone.discard(job)
