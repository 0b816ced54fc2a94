"""One namespace of a cluster, as a test uses it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.kubernetes.api import Object, path_of
from tests.kubernetes.cluster import PATIENCE, Cluster


@dataclass(frozen=True)
class Namespace:
    """Short forms of what `cluster` can do, in `name`."""

    cluster: Cluster
    name: str

    @classmethod
    async def make(cls, cluster: Cluster, name: str) -> "Namespace":
        """Make one that takes restricted Pods alone; return once Pods can be made in it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        await cluster.api.create(path_of("namespaces"), {"metadata": {"name": name, "labels": labels}})
        await cluster.until("serviceaccounts", name, "default", bool)
        return cls(cluster, name)

    async def create(self, kind: str, obj: Object) -> None:
        await self.cluster.api.create(path_of(kind, self.name), obj)

    async def patch(self, kind: str, name: str, change: Object) -> None:
        await self.cluster.api.patch(path_of(kind, self.name, name), change)

    async def delete(self, kind: str, name: str) -> None:
        await self.cluster.api.delete(path_of(kind, self.name, name))

    async def until(
        self, kind: str, name: str, holds: Callable[[Object], object], seconds: float = PATIENCE
    ) -> Object:
        """Return an object, empty where it is not there, as soon as `holds` for it."""
        return await self.cluster.until(kind, self.name, name, holds, seconds)

    def pods(self, **labels: str) -> list[Object]:
        """Return the Pods there are, with all of `labels`."""
        return self.cluster.pods(self.name, **labels)

    def logs(self, name: str) -> str:
        """Return what a Pod's containers have printed."""
        return self.cluster.logs(self.name, name)
