"""A cluster for tests: a real control plane, nodes that run Pods as processes here, and what may happen to them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.kubernetes.api import Api, Object, path_of
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.kubelet.images import Images
from tests.kubernetes.kubelet.machine import Machine
from tests.kubernetes.kubelet.network import Network
from tests.kubernetes.kubelet.node import Node
from tests.kubernetes.kubelet.rewriting import Address
from tests.kubernetes.kubelet.scheduler import Scheduler
from tests.kubernetes.mirror import Mirror

PATIENCE = 30.0


class Cluster:
    """`plane` with nodes; what went wrong in the cluster itself is raised by `until` and `stop`."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.api = Api(plane.url, plane.certificate, plane.token)
        self.images = Images()
        self.nodes: dict[str, Node] = {}
        self._probing = aiohttp.ClientSession()
        self._mirrors: dict[str, Mirror] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._errors: list[BaseException] = []
        self._listeners: dict[str, list[Callable[[Object, bool], None]]] = {}
        self._pods = self._mirror("pods", self._heard)
        nodes = self._mirror("nodes", lambda *_: self.scheduler.wake())
        self.scheduler = Scheduler(self.api, self._pods, nodes)
        self._network = Network(self._mirror("services", lambda *_: None), self._pods)
        self._machine = Machine(folder, plane.port, self.api, self._network, self.images, self._probing)
        self._run(self.scheduler.run())

    def _mirror(self, kind: str, heard: Callable[[Object, bool], None]) -> Mirror:
        listeners = self._listeners[kind] = []

        def tell(obj: Object, there: bool) -> None:
            for each in (heard, *listeners):
                each(obj, there)

        self._mirrors[kind] = Mirror(self.api, path_of(kind), tell)
        self._run(self._mirrors[kind].run())
        return self._mirrors[kind]

    def _run(self, endless: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(endless)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._errors.append(task.exception() or RuntimeError("a part of the cluster ended"))

    def _heard(self, pod: Object, there: bool) -> None:
        if node := self.nodes.get(pod["spec"].get("nodeName", "")):
            node.heard(pod, there)
        self.scheduler.wake()

    def listen(self, kind: str, heard: Callable[[Object, bool], None]) -> None:
        """Have `heard` called with each object of a kind as it changes, and whether it is still there."""
        self._mirrored(kind)
        self._listeners[kind].append(heard)

    def _mirrored(self, kind: str) -> Mirror:
        return self._mirrors.get(kind) or self._mirror(kind, lambda *_: None)

    async def stop(self) -> None:
        """End every process, and forget the nodes. Raises what went wrong in the cluster itself."""
        for node in self.nodes.values():
            await node.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._network.close()
        await self._probing.close()
        await self.api.close()
        if self._errors:
            raise BaseExceptionGroup("the test's cluster failed", self._errors)

    async def add_node(
        self,
        name: str,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        **room: str,
    ) -> Node:
        """Add a node with `room` for Pods: `pods`, `cpu`, `memory`, as much as anybody wants where they are not told."""
        node = Node(name, len(self.nodes) + 1, self._machine, self._errors.append)
        self.nodes[name] = node
        await node.register(labels or {}, taints, room)
        return node

    async def until(
        self,
        kind: str,
        namespace: str,
        name: str,
        holds: Callable[[Object], object],
        seconds: float = PATIENCE,
    ) -> Object:
        """Return an object, empty where it is not there, as soon as `holds` for it."""
        mirror = self._mirrored(kind)

        def it() -> Object:
            return mirror.objects.get((namespace, name), {})

        try:
            await asyncio.wait_for(mirror.until(lambda: bool(self._errors or holds(it()))), seconds)
        except TimeoutError as e:
            raise AssertionError(f"{kind} {name} never came to that; it is {json.dumps(it())}") from e
        if self._errors:
            raise BaseExceptionGroup("the test's cluster failed", self._errors)
        return it()

    async def until_all(
        self,
        kind: str,
        namespace: str,
        holds: Callable[[list[Object]], object],
        seconds: float = PATIENCE,
    ) -> list[Object]:
        """Return the objects of a namespace as soon as `holds` for them."""
        mirror = self._mirrored(kind)

        def they() -> list[Object]:
            return [obj for (place, _), obj in mirror.objects.items() if place == namespace]

        try:
            await asyncio.wait_for(mirror.until(lambda: bool(self._errors or holds(they()))), seconds)
        except TimeoutError as e:
            raise AssertionError(f"the {kind} never came to that; they are {json.dumps(they())}") from e
        return they()

    def all_pods(self) -> list[Object]:
        return list(self._pods.objects.values())

    def pods(self, namespace: str, **labels: str) -> list[Object]:
        """Return the Pods there are, with all of `labels`."""
        there = (pod for (place, _), pod in self._pods.objects.items() if place == namespace)
        return [pod for pod in there if labels.items() <= (pod["metadata"].get("labels") or {}).items()]

    def pod(self, namespace: str, name: str) -> Object:
        """Return one Pod. Raises `KeyError`."""
        return self._pods.objects[namespace, name]

    def port_of(self, pod: Object, number: int) -> int:
        """Return where on this machine a Pod's port is."""
        return self._network.ports_of(pod)[number]

    async def service_port(self, namespace: str, service: str, port: int) -> int:
        """Return where on this machine a Service's port is."""
        address = Address(namespace, service, port)
        return (await self._network.reach([address]))[address]

    def logs(self, namespace: str, name: str) -> str:
        """Return what a Pod's containers have printed, those that were run again too."""
        files = sorted((self.folder / "logs").glob(f"{namespace}.{name}.*"))
        return "".join(file.read_text(errors="replace") for file in files)


@contextlib.asynccontextmanager
async def cluster(plane: ControlPlane, folder: Path) -> AsyncIterator[Cluster]:
    """Run one with a single node for the body."""
    running = Cluster(plane, folder)
    try:
        await running.add_node("node-1")
        yield running
    finally:
        await running.stop()
