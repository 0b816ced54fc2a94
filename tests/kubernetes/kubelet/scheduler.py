"""Gives Pods that wait a node with room for them."""

import asyncio

from tests.kubernetes.api import CONFLICT, NOT_FOUND, Api, Object, Refused, key_of, path_of
from tests.kubernetes.kubelet.placement import is_over, obstacle, verdict
from tests.kubernetes.kubelet.status import condition
from tests.kubernetes.mirror import Mirror


class Scheduler:
    """Takes the emptiest node; `wake` tells it that Pods or nodes have changed."""

    def __init__(self, api: Api, pods: Mirror, nodes: Mirror) -> None:
        self._api = api
        self._pods = pods
        self._nodes = nodes
        self._woken = asyncio.Event()
        self._placing = asyncio.Lock()
        # Bound by us, and not yet heard of as such.
        self._bound: dict[str, str] = {}

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Schedule for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            waiting = [pod for pod in self._pods.objects.values() if self._waits(pod)]
            for pod in sorted(waiting, key=lambda each: str(each["metadata"]["creationTimestamp"])):
                async with self._placing:
                    await self._place(pod)

    async def settled(self) -> None:
        """Return when no Pod is on its way to a node by what was known before."""
        async with self._placing:
            return

    def _node_of(self, pod: Object) -> str:
        return str(pod["spec"].get("nodeName") or self._bound.get(pod["metadata"]["uid"], ""))

    def _waits(self, pod: Object) -> bool:
        held = pod["spec"].get("schedulingGates") or "deletionTimestamp" in pod["metadata"]
        return not self._node_of(pod) and not is_over(pod) and not held

    async def _place(self, pod: Object) -> None:
        there: dict[str, list[Object]] = {name: [] for _, name in self._nodes.objects}
        for other in self._pods.objects.values():
            if not is_over(other) and self._node_of(other) in there:
                there[self._node_of(other)].append(other)
        obstacles = {
            name: obstacle(pod, node, there[name]) for (_, name), node in self._nodes.objects.items()
        }
        free = [name for name, reason in obstacles.items() if not reason]
        if free:
            await self._bind(pod, min(free, key=lambda name: len(there[name])))
        else:
            await self._decline(pod, verdict(obstacles.values()))

    async def _bind(self, pod: Object, node: str) -> None:
        namespace, name = key_of(pod)
        uid = pod["metadata"]["uid"]
        binding = {"metadata": {"name": name, "uid": uid}, "target": {"kind": "Node", "name": node}}
        await self._tell("POST", path_of("pods", namespace, name, "binding"), binding)
        self._bound[uid] = node

    async def _decline(self, pod: Object, message: str) -> None:
        told = (pod.get("status") or {}).get("conditions") or []
        if any(each["type"] == "PodScheduled" and each.get("message") == message for each in told):
            return
        declined = condition("PodScheduled", False, reason="Unschedulable", message=message)
        change = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": [declined]}}
        await self._tell("PATCH", path_of("pods", *key_of(pod), "status"), change)

    async def _tell(self, method: str, path: str, obj: Object) -> None:
        call = self._api.create if method == "POST" else self._api.patch
        try:
            await self._api.surely(lambda: call(path, obj))
        except Refused as e:  # it is gone by now
            if e.status not in (NOT_FOUND, CONFLICT):
                raise
