"""How many workers there were, as the cluster itself tells."""

from tests.kubernetes.api import Object, path_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kubelet.placement import is_over
from tests.kubernetes.town import WORKERS


class Census:
    """Counts from now on: `most` Pods that live at a time; `jobs` and `pods` that are new, by their uids."""

    def __init__(self, cluster: Cluster, known: set[str]) -> None:
        self._known = known
        self._living: set[str] = set()
        self.most = 0
        self.pods: set[str] = set()
        self.jobs: set[str] = set()
        for pod in cluster.pods(WORKERS):
            self._pod(pod, there=True)
        cluster.listen("pods", lambda pod, there: self._pod(pod, there=there))
        cluster.listen("jobs", lambda job, _: self._job(job))

    @classmethod
    async def begin(cls, cluster: Cluster) -> "Census":
        """Begin to count; what there is by now is not new."""
        kinds = [await cluster.api.get(path_of(kind, WORKERS)) for kind in ("jobs", "pods")]
        return cls(cluster, {each["metadata"]["uid"] for kind in kinds for each in kind["items"]})

    def _pod(self, pod: Object, *, there: bool) -> None:
        if pod["metadata"]["namespace"] != WORKERS:
            return
        uid = pod["metadata"]["uid"]
        self.pods |= {uid} - self._known
        if there and not is_over(pod):
            self._living.add(uid)
        else:
            self._living.discard(uid)
        self.most = max(self.most, len(self._living))

    def _job(self, job: Object) -> None:
        if job["metadata"]["namespace"] == WORKERS:
            self.jobs |= {job["metadata"]["uid"]} - self._known
