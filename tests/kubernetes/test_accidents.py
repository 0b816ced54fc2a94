"""What may happen to Pods and nodes, and what is refused, on a real control plane."""

import pytest

from tests.kubernetes import accidents
from tests.kubernetes.api import TOO_MANY, Refused
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.namespace import Namespace
from tests.kubernetes.objects import (
    Object,
    condition_of,
    container,
    deployment,
    holds,
    job,
    phase,
    pod,
    pod_spec,
    served,
    state_of,
)

pytestmark = [pytest.mark.xdist_group("kubernetes"), pytest.mark.asyncio(loop_scope="module")]

SLEEP = "import time; time.sleep(600)"
IMAGE = "nowhere/it:2"


def gone(obj: Object) -> bool:
    return not obj


async def test_an_image_that_cannot_be_pulled_is_told_and_tried_again(
    namespace: Namespace, shared_cluster: Cluster
) -> None:
    shared_cluster.images.break_pull(IMAGE, "manifest unknown")
    await namespace.create("pods", pod("unpulled", pod_spec(container(SLEEP, image=IMAGE))))

    def backs_off(it: Object) -> bool:
        return state_of(it).get("waiting", {}).get("reason") == "ImagePullBackOff"

    waiting = await namespace.until("pods", "unpulled", backs_off)
    assert "manifest unknown" in state_of(waiting)["waiting"]["message"]
    shared_cluster.images.mend_pull(IMAGE)
    await namespace.until("pods", "unpulled", phase("Running"))


async def test_a_pod_that_is_killed_for_memory_or_put_out_says_so(
    namespace: Namespace, shared_cluster: Cluster
) -> None:
    for name in ("hungry", "pressed"):
        await namespace.create("pods", pod(name, pod_spec(container(SLEEP))))
        await namespace.until("pods", name, phase("Running"))

    accidents.out_of_memory(shared_cluster, namespace.name, "hungry")
    accidents.pressed_out(shared_cluster, namespace.name, "pressed")

    killed = state_of(await namespace.until("pods", "hungry", phase("Failed")))["terminated"]
    assert (killed["reason"], killed["exitCode"]) == ("OOMKilled", 137)
    evicted = await namespace.until("pods", "pressed", phase("Failed"))
    assert evicted["status"]["reason"] == "Evicted"
    assert holds("DisruptionTarget")(evicted)


async def test_a_pod_without_a_node_says_why_until_there_is_one(
    namespace: Namespace, shared_cluster: Cluster
) -> None:
    await shared_cluster.add_node("small", labels={"pool": "small"}, pods="0")
    wanted = {"requests": {"cpu": "65"}}
    spec = pod_spec(container(SLEEP, resources=wanted), nodeSelector={"pool": "small"})
    await namespace.create("pods", pod("large", spec))

    async def refused(reason: str) -> None:
        waiting = await namespace.until(
            "pods", "large", lambda it: reason in condition_of(it, "PodScheduled").get("message", "")
        )
        assert condition_of(waiting, "PodScheduled")["reason"] == "Unschedulable"

    await refused(
        "0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector."
    )
    await shared_cluster.nodes["small"].resize(pods="1")
    await refused("1 Insufficient cpu")
    await shared_cluster.nodes["small"].resize(cpu="65")
    await namespace.until("pods", "large", phase("Running"))
    await accidents.lose(shared_cluster, "small")


async def test_a_job_fails_for_its_deadline_and_for_a_disruption(namespace: Namespace) -> None:
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    await namespace.create("jobs", job("late", pod_spec(container(SLEEP)), activeDeadlineSeconds=1))
    policy = {"rules": [disrupted]}
    await namespace.create("jobs", job("moved", pod_spec(container(SLEEP)), podFailurePolicy=policy))
    await namespace.until("jobs", "moved", lambda it: it.get("status", {}).get("ready") == 1)
    [moved] = namespace.pods(job="moved")

    await accidents.evict(namespace.cluster, namespace.name, moved["metadata"]["name"])

    for name, reason in (("moved", "PodFailurePolicy"), ("late", "DeadlineExceeded")):
        failed = await namespace.until("jobs", name, holds("Failed"))
        assert condition_of(failed, "Failed")["reason"] == reason


async def test_nodes_are_drained_as_budgets_allow_and_lost_ones_forgotten(
    namespace: Namespace, shared_cluster: Cluster
) -> None:
    await shared_cluster.add_node("web-1", labels={"pool": "web"})
    budget = {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    await namespace.create("poddisruptionbudgets", {"metadata": {"name": "web"}} | budget)
    spec = pod_spec(served(), restart="Always", nodeSelector={"pool": "web"})
    await namespace.create("deployments", deployment("web", spec))
    await namespace.until("deployments", "web", holds("Available"))
    [only] = namespace.pods(app="web")
    with pytest.raises(Refused) as refused:
        await accidents.evict(shared_cluster, namespace.name, only["metadata"]["name"])
    assert refused.value.status == TOO_MANY

    await namespace.patch("deployments", "web", {"spec": {"replicas": 2}})
    await shared_cluster.add_node("web-2", labels={"pool": "web"})
    await accidents.drain(shared_cluster, "web-1")
    await namespace.until("deployments", "web", lambda it: it["status"].get("readyReplicas") == 2)
    there = namespace.pods(app="web")
    assert {each["spec"]["nodeName"] for each in there} == {"web-2"}

    await accidents.lose(shared_cluster, "web-2")
    await accidents.collect_orphans(shared_cluster)
    for each in there:
        await namespace.until("pods", each["metadata"]["name"], gone)


async def test_what_is_forbidden_is_refused(namespace: Namespace, shared_cluster: Cluster) -> None:
    # Before the first Pod: that there are none in a namespace the API server remembers for half a minute.
    most = {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}
    await namespace.create("limitranges", {"metadata": {"name": "most"}, "spec": most})
    wanted = {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}}
    with pytest.raises(Refused, match="maximum memory usage per Container is 1Gi"):
        await namespace.create("pods", pod("large", pod_spec(container(SLEEP, resources=wanted))))
    with pytest.raises(Refused, match=r"violates PodSecurity \"restricted:latest\""):
        await namespace.create("pods", pod("bad", pod_spec(container(SLEEP, securityContext={}))))

    await namespace.create("resourcequotas", {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}})
    await namespace.until("resourcequotas", "one", lambda it: it.get("status", {}).get("used"))
    await namespace.create("pods", pod("first", pod_spec(container(SLEEP))))
    with pytest.raises(Refused, match="exceeded quota: one"):
        await namespace.create("pods", pod("second", pod_spec(container(SLEEP))))

    kubeconfig = await shared_cluster.plane.service_account_kubeconfig(namespace.name, "default")
    question = ("auth", "can-i", "--list", "--namespace", namespace.name)
    assert "secrets" not in await shared_cluster.plane.kubectl(*question, kubeconfig=kubeconfig)


async def test_the_api_server_may_die_and_come_back(namespace: Namespace, shared_cluster: Cluster) -> None:
    await namespace.create("pods", pod("p", pod_spec(container("print('once'); " + SLEEP))))
    await namespace.until("pods", "p", phase("Running"))

    shared_cluster.plane.apiserver.kill()
    shared_cluster.plane.apiserver.start()
    await shared_cluster.plane.until_ready()

    await namespace.delete("pods", "p")
    await namespace.until("pods", "p", gone)
    assert namespace.logs("p") == "once\n"
