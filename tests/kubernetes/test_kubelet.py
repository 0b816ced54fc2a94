"""The test kubelet itself, on a real control plane."""

import base64
import json
import sys
import textwrap

import psutil
import pytest

from tests.chaos.fleet import eventually
from tests.kubernetes import accidents
from tests.kubernetes.api import NOT_FOUND, TOO_MANY, Refused, path_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import (
    condition_of,
    container,
    deployment,
    holds,
    job,
    phase,
    pod,
    pod_spec,
    service,
    state_of,
)

pytestmark = [pytest.mark.xdist_group("kubernetes"), pytest.mark.timeout(180)]

SERVER = """
    import http.server, os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(b"it is " + os.environ["HOSTNAME"].encode())
        def log_message(self, *_): pass
    http.server.HTTPServer(("127.0.0.1", int(os.environ["THREADMILL_HTTP_PORT"])), Handler).serve_forever()
"""
PORT = {"ports": [{"name": "http", "containerPort": 3000}]}
READY = {"readinessProbe": {"httpGet": {"port": "http", "path": "/"}}}
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked"))
print("up")
while True: time.sleep(600)
"""
SLEEP = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
async def namespace(cluster: Cluster) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await cluster.api.create(path_of("namespaces"), {"metadata": {"name": "test", "labels": labels}})
    await cluster.until("serviceaccounts", "test", "default", bool)
    await cluster.until("configmaps", "test", "kube-root-ca.crt", bool)


async def create(cluster: Cluster, kind: str, obj: dict) -> None:
    await cluster.api.create(path_of(kind, "test"), obj)


async def test_a_job_runs_to_its_end(cluster: Cluster) -> None:
    # As it was given: Python adds to its own.
    code = "print(open('/proc/self/environ').read())"
    await create(cluster, "configmaps", {"metadata": {"name": "settings"}, "data": {"COLOUR": "green"}})
    env = [
        {
            "name": "UID",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}},
        },
        {"name": "WORKER", "value": "w-$(UID) $(NOBODY) $$(UID)"},
        {"name": "DATA", "value": "/data/here"},
    ]
    told = {"envFrom": [{"configMapRef": {"name": "settings"}}], "env": env}
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    spec = pod_spec(container(code, **told, **mounts), volumes=[{"name": "data", "emptyDir": {}}])
    await create(cluster, "jobs", job("one", spec))

    done = await cluster.until("jobs", "test", "one", holds("Complete"))

    [ended] = cluster.pods("test", job="one")
    uid, heard = done["metadata"]["uid"], environment(cluster, ended["metadata"]["name"])
    place = heard.pop("DATA")
    assert place.endswith("/data/here")
    assert place.startswith(str(cluster.folder))
    assert heard.pop("PATH").split(":")[0] in sys.executable
    assert heard == {
        "COLOUR": "green",
        "UID": uid,
        "WORKER": f"w-{uid} $(NOBODY) $(UID)",
        "HOSTNAME": ended["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster.plane.port),
    }


def environment(cluster: Cluster, name: str) -> dict[str, str]:
    given = cluster.logs("test", name).strip().rstrip("\0").split("\0")
    return dict(each.split("=", 1) for each in given)


async def test_tokens_are_the_api_servers_own(cluster: Cluster) -> None:
    code = """
        import os, pathlib
        print(pathlib.Path(os.environ["TOKEN"]).read_text())
        place = pathlib.Path(os.environ["THREADMILL_CLUSTER_FOLDER"])
        print(*((place / name).read_text().encode().hex() for name in ("token", "ca.crt", "namespace")))
    """
    source = {"serviceAccountToken": {"audience": "threadmill", "expirationSeconds": 600, "path": "token"}}
    spec = pod_spec(
        container(
            textwrap.dedent(code),
            env=[{"name": "TOKEN", "value": "/var/run/threadmill/token"}],
            volumeMounts=[{"name": "token", "mountPath": "/var/run/threadmill"}],
        ),
        volumes=[{"name": "token", "projected": {"sources": [source]}}],
        automountServiceAccountToken=True,
    )
    await create(cluster, "pods", pod("p", spec))
    ended = await cluster.until("pods", "test", "p", phase("Succeeded", "Failed"))

    projected, rest = cluster.logs("test", "p").split("\n", 1)
    token, authority, place = (bytes.fromhex(each).decode() for each in rest.split())
    claims = json.loads(base64.urlsafe_b64decode(projected.split(".")[1] + "=="))
    assert claims["aud"] == ["threadmill"]
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": ended["metadata"]["uid"]}
    assert authority == cluster.plane.certificate.read_text()
    assert place == "test"
    who = await cluster.plane.kubectl("auth", "whoami", kubeconfig=cluster.plane.kubeconfig("default", token))
    assert "system:serviceaccount:test:default" in who


async def test_a_deployment_is_ready_once_its_probe_says_so_and_is_reached_by_its_services_name(
    cluster: Cluster,
) -> None:
    served = container(textwrap.dedent(SERVER), **PORT, **READY)
    await create(cluster, "services", service("web", 80, "http"))
    await create(cluster, "deployments", deployment("web", pod_spec(served, restart="Always"), replicas=2))
    await cluster.until(
        "deployments", "test", "web", lambda it: it.get("status", {}).get("readyReplicas") == 2
    )

    asks = "import os, urllib.request as u; print(u.urlopen(os.environ['URL'], timeout=5).read().decode())"
    env = [{"name": "URL", "value": "http://web.test.svc.cluster.local/"}]
    await create(cluster, "pods", pod("client", pod_spec(container(asks, env=env))))
    await cluster.until("pods", "test", "client", phase("Succeeded"))

    assert cluster.logs("test", "client").startswith("it is web-")


async def test_a_broker_finds_its_configuration_and_clients_find_the_broker(cluster: Cluster) -> None:
    config = 'port: 4222\nhttp: 8222\njetstream { store_dir: "/data" }\ninclude "../access/users.conf"\n'
    access = "authorization { user: somebody, password: secret }\n"
    await create(cluster, "configmaps", {"metadata": {"name": "nats"}, "data": {"nats.conf": config}})
    secret = {"metadata": {"name": "access"}, "stringData": {"users.conf": access}}
    await create(cluster, "secrets", secret)
    broker = container(
        "",
        image="nats:2.15.1-alpine",
        command=["nats-server", "-c", "/etc/nats/nats.conf"],
        ports=[{"name": "client", "containerPort": 4222}, {"name": "monitor", "containerPort": 8222}],
        readinessProbe={"httpGet": {"port": "monitor", "path": "/healthz"}},
        volumeMounts=[
            {"name": "config", "mountPath": "/etc/nats"},
            {"name": "access", "mountPath": "/etc/access"},
            {"name": "data", "mountPath": "/data"},
        ],
    )
    volumes = [
        {"name": "config", "configMap": {"name": "nats"}},
        {"name": "access", "secret": {"secretName": "access"}},
        {"name": "data", "emptyDir": {}},
    ]
    await create(cluster, "services", service("nats", 4222, "client", clusterIP="None"))
    await create(cluster, "pods", pod("nats-0", pod_spec(broker, volumes=volumes), app="nats"))
    asks = """
        import asyncio, nats, os
        async def main():
            client = await nats.connect(os.environ["NATS"])
            print((await client.jetstream().account_info()).streams)
            await client.close()
        asyncio.run(main())
    """
    env = [{"name": "NATS", "value": "nats://somebody:secret@nats.test.svc:4222"}]
    await create(cluster, "pods", pod("client", pod_spec(container(textwrap.dedent(asks), env=env))))

    await cluster.until("pods", "test", "client", phase("Succeeded"))

    assert cluster.logs("test", "client") == "0\n"


async def test_a_deleted_pod_is_asked_and_then_killed(cluster: Cluster) -> None:
    spec = pod_spec(container(STUBBORN), terminationGracePeriodSeconds=1)
    await create(cluster, "pods", pod("stubborn", spec))
    await cluster.until("pods", "test", "stubborn", phase("Running"))
    await eventually_logged(cluster, "stubborn", "up")

    await cluster.api.delete(path_of("pods", "test", "stubborn"))

    ended = await cluster.until("pods", "test", "stubborn", phase("Failed"))
    assert state_of(ended)["terminated"]["exitCode"] == 137
    await cluster.until("pods", "test", "stubborn", lambda it: not it)
    assert cluster.logs("test", "stubborn") == "up\nasked\n"
    assert left_over() == []


async def test_a_container_that_ends_is_run_again_and_finds_its_claim(cluster: Cluster) -> None:
    code = """
        import os, pathlib, sys, time
        file = pathlib.Path(os.environ["FILE"])
        if file.exists(): print(file.read_text()); time.sleep(600)
        file.write_text("kept"); sys.exit("too early")
    """
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    told = {
        "env": [{"name": "FILE", "value": "/data/file"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}]
    spec = pod_spec(container(textwrap.dedent(code), **mounts, **told), restart="Always", volumes=volumes)
    await create(cluster, "pods", pod("again", spec))

    running = await cluster.until(
        "pods", "test", "again", lambda it: "running" in state_of(it) and restarts(it)
    )

    last = running["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["message"]) == (1, "too early\n")
    await eventually_logged(cluster, "again", "kept")


def restarts(obj: dict) -> int:
    return int(obj["status"]["containerStatuses"][0]["restartCount"])


async def eventually_logged(cluster: Cluster, name: str, text: str) -> None:
    async def logged() -> bool:
        return text in cluster.logs("test", name)

    assert await eventually(logged, 10, every=0.05)


def left_over() -> list[str]:
    """Return what still runs of the Pods' containers."""
    commands = (" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True))
    return [command for command in commands if "kubelet/supervisor.py" in command]


async def test_what_ends_a_pod_is_told_as_a_real_kubelet_does(cluster: Cluster) -> None:
    cluster.images.break_pull("nowhere/it:2", "manifest unknown")
    await create(cluster, "pods", pod("unpulled", pod_spec(container(SLEEP, image="nowhere/it:2"))))
    await create(cluster, "pods", pod("hungry", pod_spec(container(SLEEP))))
    await create(cluster, "pods", pod("pressed", pod_spec(container(SLEEP))))
    await create(
        cluster, "pods", pod("large", pod_spec(container(SLEEP, resources={"requests": {"cpu": "65"}})))
    )

    waiting = await cluster.until(
        "pods",
        "test",
        "unpulled",
        lambda it: state_of(it).get("waiting", {}).get("reason") == "ImagePullBackOff",
    )
    assert "manifest unknown" in state_of(waiting)["waiting"]["message"]
    cluster.images.mend_pull("nowhere/it:2")
    await cluster.until("pods", "test", "unpulled", phase("Running"))

    await cluster.until("pods", "test", "hungry", phase("Running"))
    accidents.out_of_memory(cluster, "test", "hungry")
    killed = state_of(await cluster.until("pods", "test", "hungry", phase("Failed")))["terminated"]
    assert (killed["reason"], killed["exitCode"]) == ("OOMKilled", 137)

    await cluster.until("pods", "test", "pressed", phase("Running"))
    accidents.pressed_out(cluster, "test", "pressed")
    evicted = await cluster.until("pods", "test", "pressed", phase("Failed"))
    assert evicted["status"]["reason"] == "Evicted"
    assert holds("DisruptionTarget")(evicted)

    large = await cluster.until("pods", "test", "large", lambda it: it.get("status", {}).get("conditions"))
    assert large["status"]["conditions"][0]["message"] == "0/1 nodes are available: 1 Insufficient cpu."


async def test_a_job_fails_for_its_deadline_and_for_a_disruption(cluster: Cluster) -> None:
    disrupted = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    await create(cluster, "jobs", job("late", pod_spec(container(SLEEP)), activeDeadlineSeconds=1))
    policy = {"rules": [disrupted]}
    await create(cluster, "jobs", job("moved", pod_spec(container(SLEEP)), podFailurePolicy=policy))
    await cluster.until("jobs", "test", "moved", lambda it: it.get("status", {}).get("ready") == 1)
    [moved] = cluster.pods("test", job="moved")

    await accidents.evict(cluster, "test", moved["metadata"]["name"])

    for name, reason in (("moved", "PodFailurePolicy"), ("late", "DeadlineExceeded")):
        failed = await cluster.until("jobs", "test", name, holds("Failed"))
        assert condition_of(failed, "Failed")["reason"] == reason
    assert left_over() == []


async def test_nodes_are_drained_as_budgets_allow_and_lost_ones_forgotten(cluster: Cluster) -> None:
    served = container(textwrap.dedent(SERVER), **PORT, **READY)
    budget = {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    await create(cluster, "poddisruptionbudgets", {"metadata": {"name": "web"}} | budget)
    await create(cluster, "deployments", deployment("web", pod_spec(served, restart="Always")))
    await cluster.until("deployments", "test", "web", holds("Available"))
    [only] = cluster.pods("test", app="web")
    with pytest.raises(Refused) as refused:
        await accidents.evict(cluster, "test", only["metadata"]["name"])
    assert refused.value.status == TOO_MANY

    await cluster.api.patch(path_of("deployments", "test", "web"), {"spec": {"replicas": 2}})
    await cluster.add_node("node-2")
    await accidents.drain(cluster, "node-1")
    await cluster.until("deployments", "test", "web", lambda it: it["status"].get("readyReplicas") == 2)
    assert {each["spec"]["nodeName"] for each in cluster.pods("test", app="web")} == {"node-2"}

    lost = cluster.pods("test", app="web")[0]["metadata"]["name"]
    await accidents.lose(cluster, "node-2")
    await accidents.collect_orphans(cluster)
    await cluster.until("pods", "test", lost, lambda it: not it)
    assert left_over() == []


async def test_what_is_forbidden_is_refused(cluster: Cluster) -> None:
    with pytest.raises(Refused, match=r"violates PodSecurity \"restricted:latest\""):
        await create(cluster, "pods", pod("bad", pod_spec(container(SLEEP, securityContext={}))))

    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    await create(cluster, "resourcequotas", quota)
    await cluster.until("resourcequotas", "test", "one", lambda it: it.get("status", {}).get("used"))
    await create(cluster, "pods", pod("first", pod_spec(container(SLEEP))))
    with pytest.raises(Refused, match="exceeded quota: one"):
        await create(cluster, "pods", pod("second", pod_spec(container(SLEEP))))

    kubeconfig = await cluster.plane.service_account_kubeconfig("test", "default")
    able = await cluster.plane.kubectl("auth", "can-i", "--list", "-n", "test", kubeconfig=kubeconfig)
    assert "secrets" not in able


async def test_the_api_server_may_die_and_come_back(cluster: Cluster) -> None:
    await create(cluster, "pods", pod("p", pod_spec(container("print('once'); " + SLEEP))))
    await cluster.until("pods", "test", "p", phase("Running"))
    cluster.plane.apiserver.kill()
    cluster.plane.apiserver.start()
    await cluster.plane.until_ready()

    await cluster.api.delete(path_of("pods", "test", "p"))

    await cluster.until("pods", "test", "p", lambda it: not it)
    assert cluster.logs("test", "p") == "once\n"
    with pytest.raises(Refused) as refused:
        await cluster.api.get(path_of("pods", "test", "p"))
    assert refused.value.status == NOT_FOUND
