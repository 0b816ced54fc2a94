"""A node: its object, and the Pods that are bound to it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from tests.kubernetes.api import Object, key_of, path_of
from tests.kubernetes.kubelet.machine import Machine
from tests.kubernetes.kubelet.placement import is_over
from tests.kubernetes.kubelet.pod import Pod
from tests.kubernetes.kubelet.status import condition

ROOM = {"pods": "110", "cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti"}


class Node:
    """Runs what is bound to it until it is stopped; `failed` hears of what went wrong with itself."""

    def __init__(
        self, name: str, number: int, machine: Machine, failed: Callable[[BaseException], None]
    ) -> None:
        self.name = name
        self._number = number
        self._addresses = count(1)
        self._machine = machine
        self._failed = failed
        self._pods: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._lost = False

    async def register(
        self, labels: Mapping[str, str], taints: Sequence[Mapping[str, str]], room: Mapping[str, str]
    ) -> None:
        """Make its object, with `room` for Pods. Nobody watches over its health: it is posted once."""
        api = self._machine.api
        named = {"kubernetes.io/hostname": self.name} | dict(labels)
        node = {"metadata": {"name": self.name, "labels": named}, "spec": {"taints": list(taints)}}
        made = await api.create(path_of("nodes"), node)
        ready, amounts = condition("Ready", True, reason="KubeletReady"), ROOM | dict(room)
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
        await api.patch(path_of("nodes", name=self.name, part="status"), {"status": status})
        # The server marks every new node as not ready; what takes that away is not here.
        kept = [each for each in made["spec"]["taints"] if each["key"] != "node.kubernetes.io/not-ready"]
        await api.patch(path_of("nodes", name=self.name), {"spec": {"taints": kept}})

    def heard(self, pod: Object, there: bool) -> None:
        """Take what the API server says of a Pod that is bound to this node."""
        uid = pod["metadata"]["uid"]
        if self._lost:
            return
        if not there:
            if uid in self._pods:
                self._pods[uid][1].cancel()
        elif uid in self._pods:
            self._pods[uid][0].heard(pod)
        elif not is_over(pod):
            self._begin(uid, pod)

    def _begin(self, uid: str, pod: Object) -> None:
        held = Pod(pod, f"10.244.{self._number}.{next(self._addresses) % 250 + 1}", self._machine)
        held.heard(pod)
        task = asyncio.create_task(held.run(), name="/".join(key_of(pod)))
        self._pods[uid] = held, task
        task.add_done_callback(lambda done: self._ended(uid, done))

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        del self._pods[uid]
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)

    def pod(self, uid: str) -> Pod:
        """Return one that runs here."""
        return self._pods[uid][0]

    async def resize(self, **room: str) -> None:
        """Change how much room it has for Pods."""
        change = {"status": {"capacity": room, "allocatable": room}}
        await self._machine.api.patch(path_of("nodes", name=self.name, part="status"), change)

    async def stop(self) -> None:
        """Kill everything here and say nothing of it, as when the power fails."""
        self._lost = True
        tasks = [task for _, task in self._pods.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
