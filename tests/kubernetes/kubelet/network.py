"""Where on this machine the Services and the ports of Pods are.

A headless Service's name leads to its Pod itself, as DNS would; any other Service's to a port here that passes connections
on to one of its ready Pods, as kube-proxy would, and so outlives them.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable, Mapping
from typing import Any

from tests.kubernetes.kubelet.rewriting import Address
from tests.kubernetes.mirror import Mirror
from tests.ports import free_port

Object = Mapping[str, Any]
CHUNK = 2**16


class Network:
    """One for all nodes. A Pod's port stays the same for as long as its name is used."""

    def __init__(self, services: Mirror, pods: Mirror) -> None:
        self._services = services
        self._pods = pods
        self._ports: dict[tuple[str, str, int], int] = {}
        self._proxies: dict[Address, asyncio.Server] = {}
        self._opening = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()

    def ports_of(self, pod: Object) -> dict[int, int]:
        """Return the port here of every port that a Pod declares."""
        metadata = pod["metadata"]
        declared = (port for each in pod["spec"]["containers"] for port in each.get("ports") or [])
        return {
            number: self._port(metadata, number) for number in (port["containerPort"] for port in declared)
        }

    def _port(self, metadata: Object, number: int) -> int:
        key = (metadata["namespace"], metadata["name"], number)
        if key not in self._ports:
            self._ports[key] = free_port()
        return self._ports[key]

    async def reach(self, addresses: Iterable[Address]) -> dict[Address, int]:
        """Return the port here for those that are Services; waits for a ready Pod of a headless one."""
        found = {}
        for address in addresses:
            service = self._services.objects.get((address.namespace, address.service))
            if service is None:
                continue
            if service["spec"].get("clusterIP") == "None":
                await self._pods.until(lambda: bool(self._backends(address)))  # noqa: B023 (awaited at once)
                found[address] = self._backends(address)[0]
            else:
                found[address] = await self._proxied(address)
        return found

    def _backends(self, address: Address) -> list[int]:
        """Return the ports of the Pods that stand behind `address` now."""
        service = self._services.objects.get((address.namespace, address.service))
        if service is None:
            return []
        pods = (pod for (namespace, _), pod in self._pods.objects.items() if namespace == address.namespace)
        chosen = [pod for pod in pods if _serves(pod, service, address)]
        numbers = ((pod, _target(service, address.port, pod)) for pod in chosen)
        return [self._port(pod["metadata"], number) for pod, number in numbers if number]

    async def _proxied(self, address: Address) -> int:
        async with self._opening:  # containers that start at once ask for the same one
            if address not in self._proxies:
                self._proxies[address] = await asyncio.start_server(
                    lambda reader, writer: self._begin(address, reader, writer), "127.0.0.1", 0
                )
        return int(self._proxies[address].sockets[0].getsockname()[1])

    def _begin(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(address, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        backends = self._backends(address)
        with contextlib.closing(writer), contextlib.suppress(OSError):
            if backends:
                inward, outward = await asyncio.open_connection("127.0.0.1", random.choice(backends))
                with contextlib.closing(outward):
                    ways = [
                        asyncio.create_task(_pass_on(*way)) for way in ((reader, outward), (inward, writer))
                    ]
                    try:
                        await asyncio.wait(ways)
                    finally:
                        for way in ways:
                            way.cancel()

    async def close(self) -> None:
        for proxy in self._proxies.values():
            proxy.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _serves(pod: Object, service: Object, address: Address) -> bool:
    """Tell whether `pod` is one of `service`, ready, and the one that `address` asks for."""
    selector, spec = service["spec"].get("selector") or {}, pod["spec"]
    labels = pod["metadata"].get("labels") or {}
    if not selector or any(labels.get(key) != value for key, value in selector.items()):
        return False
    if address.pod and spec.get("hostname") != address.pod:
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return (ready and "deletionTimestamp" not in pod["metadata"]) or (
        bool(service["spec"].get("publishNotReadyAddresses")) and bool(spec.get("nodeName"))
    )


def _target(service: Object, port: int, pod: Object) -> int | None:
    """Return the port of `pod` that a Service's `port` leads to, None where it leads nowhere."""
    if service["spec"].get("clusterIP") == "None":
        return port
    told = next((each for each in service["spec"].get("ports") or [] if each["port"] == port), None)
    target = told and told.get("targetPort", port)
    declared = [each for container in pod["spec"]["containers"] for each in container.get("ports") or []]
    return next(
        (each["containerPort"] for each in declared if target in (each["containerPort"], each.get("name"))),
        None,
    )
