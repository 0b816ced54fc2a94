"""What may happen to the Pods and nodes of a cluster."""

import asyncio
import contextlib

from tests.kubernetes.api import NOT_FOUND, TOO_MANY, Object, Refused, key_of, path_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.kubelet.pod import Pod
from tests.kubernetes.kubelet.status import condition

AGAIN_SECONDS = 0.2
UNREACHABLE = "node.kubernetes.io/unreachable"
LOW_MEMORY = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi."


def _held(cluster: Cluster, namespace: str, name: str) -> Pod:
    pod = cluster.pod(namespace, name)
    return cluster.nodes[pod["spec"]["nodeName"]].pod(pod["metadata"]["uid"])


def out_of_memory(cluster: Cluster, namespace: str, name: str) -> None:
    """Have the kernel kill a Pod's containers for their memory."""
    _held(cluster, namespace, name).kill("OOMKilled")


def killed(cluster: Cluster, namespace: str, name: str) -> None:
    """Have somebody kill a Pod's containers."""
    _held(cluster, namespace, name).kill("Error")


def frozen(cluster: Cluster, namespace: str, name: str) -> None:
    """Have a Pod's containers hang: they neither work nor hear a signal, and do not end by themselves."""
    _held(cluster, namespace, name).freeze()


def pressed_out(cluster: Cluster, namespace: str, name: str) -> None:
    """Have a node put a Pod out because it is low on memory: no disruption budget is asked."""
    _held(cluster, namespace, name).press(LOW_MEMORY)


async def evict(cluster: Cluster, namespace: str, name: str) -> None:
    """Evict a Pod as a drain does. Raises `Refused`, 429 where a disruption budget forbids it."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": namespace, "name": name},
    }
    await cluster.api.create(path_of("pods", namespace, name, "eviction"), eviction)


async def drain(cluster: Cluster, node: str) -> None:
    """Let nothing new onto a node, and evict what is there, as disruption budgets allow; return when it is empty."""
    await cluster.api.patch(path_of("nodes", name=node), {"spec": {"unschedulable": True}})
    await cluster.until("nodes", "", node, lambda it: it["spec"].get("unschedulable"))
    await cluster.scheduler.settled()
    there = await cluster.api.get(path_of("pods"), fieldSelector=f"spec.nodeName={node}")
    await asyncio.gather(*(_evict_patiently(cluster, pod) for pod in there["items"]))


async def _evict_patiently(cluster: Cluster, pod: Object) -> None:
    uid, (namespace, name) = pod["metadata"]["uid"], key_of(pod)
    while True:
        try:
            await evict(cluster, namespace, name)
        except Refused as e:
            if e.status == NOT_FOUND:
                return
            if e.status != TOO_MANY:
                raise
            await asyncio.sleep(
                AGAIN_SECONDS
            )  # as `kubectl drain` does; nothing tells when a budget allows it
        else:
            break
    await cluster.until("pods", namespace, name, lambda now: now.get("metadata", {}).get("uid") != uid)


async def limit(cluster: Cluster, namespace: str, quota: str, pods: str) -> str:
    """Let a quota allow so many Pods from now on; return how many it allowed."""
    path = path_of("resourcequotas", namespace, quota)
    before: str = (await cluster.api.get(path))["spec"]["hard"]["pods"]
    await cluster.api.patch(path, {"spec": {"hard": {"pods": pods}}})
    await cluster.until("resourcequotas", namespace, quota, lambda it: it["status"]["hard"]["pods"] == pods)
    return before


async def lose(cluster: Cluster, node: str) -> None:
    """Lose a node at once with all that runs there, and take its object away, as a cloud does when a machine is gone."""
    await cluster.nodes.pop(node).stop()
    await cluster.api.delete(path_of("nodes", name=node))


async def silence(cluster: Cluster, node: str) -> None:
    """Lose a node at once with all that runs there, and keep its object: nobody knows whether it comes back.

    The controller manager marks it once it has not heard of it for 40 s; what the objects of its Pods say stays as it was.
    """
    await cluster.nodes.pop(node).stop()
    path = path_of("nodes", name=node)
    taints = (await cluster.api.get(path))["spec"].get("taints", [])
    marks = [{"key": UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    await cluster.api.patch(path, {"spec": {"taints": [*taints, *marks]}})
    await cluster.until("nodes", "", node, lambda it: UNREACHABLE in str(it["spec"].get("taints")))
    await cluster.scheduler.settled()


async def forget(cluster: Cluster, node: str) -> None:
    """Take the object of a node away that is silent, with what was on it."""
    await cluster.api.delete(path_of("nodes", name=node))
    await collect_orphans(cluster)


async def collect_orphans(cluster: Cluster) -> None:
    """Remove the Pods of nodes that are gone, as the controller manager does; it takes up to a minute for it."""
    for pod in cluster.all_pods():
        if pod["spec"].get("nodeName", "") not in ("", *cluster.nodes):
            await _collect(cluster, pod)


async def _collect(cluster: Cluster, pod: Object) -> None:
    why = {"reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"}
    path = path_of("pods", *key_of(pod))
    status = {"phase": "Failed", "conditions": [condition("DisruptionTarget", True, **why)]}
    with contextlib.suppress(Refused):  # the other was faster
        await cluster.api.patch(f"{path}/status", {"status": status})
        await cluster.api.delete(path, grace=0, uid=pod["metadata"]["uid"])
