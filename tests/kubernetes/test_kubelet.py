"""What the test kubelet does with Pods, on a real control plane."""

import base64
import json
import sys

import pytest

from tests.chaos.fleet import eventually
from tests.kubernetes.namespace import Namespace
from tests.kubernetes.objects import (
    Object,
    container,
    deployment,
    holds,
    job,
    phase,
    pod,
    pod_spec,
    served,
    service,
    state_of,
    stateful_set,
)

pytestmark = [pytest.mark.xdist_group("kubernetes"), pytest.mark.asyncio(loop_scope="module")]

# As it was given: Python adds to its own.
TELLS_ENVIRONMENT = "print(open('/proc/self/environ').read())"
TELLS_TOKENS = """
import os, pathlib
print(pathlib.Path(os.environ["TOKEN"]).read_text())
place = pathlib.Path(os.environ["THREADMILL_CLUSTER"])
print(*((place / name).read_text().encode().hex() for name in ("token", "ca.crt", "namespace")))
"""
ASKS_BROKER = """
import asyncio, nats, os
async def main():
    client = await nats.connect(os.environ["NATS"])
    print((await client.jetstream().account_info()).streams)
    await client.close()
asyncio.run(main())
"""
ASKS_PAGE = "import os, urllib.request as u; print(u.urlopen(os.environ['URL'], timeout=5).read().decode())"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked"))
print("up")
while True: time.sleep(600)
"""
ONCE_TOO_EARLY = """
import os, pathlib, sys, time
file = pathlib.Path(os.environ["FILE"])
if file.exists(): print(file.read_text()); time.sleep(600)
file.write_text("kept"); sys.exit("too early")
"""


def mounted(name: str, path: str) -> Object:
    return {"volumeMounts": [{"name": name, "mountPath": path}]}


async def logged(namespace: Namespace, name: str, text: str) -> None:
    """Return once a Pod has printed `text`."""

    async def it_has() -> bool:
        return text in namespace.logs(name)

    assert await eventually(it_has, 10, every=0.05)


async def test_a_job_runs_to_its_end_and_is_told_what_its_pod_says(namespace: Namespace) -> None:
    uid_path = "metadata.labels['batch.kubernetes.io/controller-uid']"
    env = [
        {"name": "JOB", "valueFrom": {"fieldRef": {"fieldPath": uid_path}}},
        {"name": "WORKER", "value": "w-$(JOB) $(NOBODY) $$(JOB)"},
        {"name": "DATA", "value": "/data/here"},
    ]
    await namespace.create("configmaps", {"metadata": {"name": "settings"}, "data": {"COLOUR": "green"}})
    told = {"envFrom": [{"configMapRef": {"name": "settings"}}], "env": env} | mounted("data", "/data")
    spec = pod_spec(container(TELLS_ENVIRONMENT, **told), volumes=[{"name": "data", "emptyDir": {}}])
    await namespace.create("jobs", job("one", spec))

    uid = (await namespace.until("jobs", "one", holds("Complete")))["metadata"]["uid"]

    [name] = (each["metadata"]["name"] for each in namespace.pods(job="one"))
    given = namespace.logs(name).strip().rstrip("\0").split("\0")
    heard, cluster = dict(each.split("=", 1) for each in given), namespace.cluster
    assert heard.pop("DATA").startswith(str(cluster.folder))
    assert heard.pop("PATH").split(":")[0] in sys.executable
    assert heard == {
        "COLOUR": "green",
        "JOB": uid,
        "WORKER": f"w-{uid} $(NOBODY) $(JOB)",
        "HOSTNAME": name,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(cluster.plane.port),
    }


async def test_tokens_are_the_api_servers_own(namespace: Namespace) -> None:
    source = {"serviceAccountToken": {"audience": "threadmill", "expirationSeconds": 600, "path": "token"}}
    told = {"env": [{"name": "TOKEN", "value": "/var/run/threadmill/token"}]}
    spec = pod_spec(
        container(TELLS_TOKENS, **told, **mounted("token", "/var/run/threadmill")),
        volumes=[{"name": "token", "projected": {"sources": [source]}}],
        automountServiceAccountToken=True,
    )
    await namespace.create("pods", pod("p", spec))
    uid = (await namespace.until("pods", "p", phase("Succeeded")))["metadata"]["uid"]

    projected, rest = namespace.logs("p").split("\n", 1)
    claims = json.loads(base64.urlsafe_b64decode(projected.split(".")[1] + "=="))
    assert claims["aud"] == ["threadmill"]
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": uid}
    token, authority, place = (bytes.fromhex(each).decode() for each in rest.split())
    plane = namespace.cluster.plane
    assert (authority, place) == (plane.certificate.read_text(), namespace.name)
    who = await plane.kubectl("auth", "whoami", kubeconfig=plane.kubeconfig("default", token))
    assert f"system:serviceaccount:{namespace.name}:default" in who


async def test_a_deployment_is_ready_once_its_probe_says_so_and_reached_by_its_name(
    namespace: Namespace,
) -> None:
    await namespace.create("services", service("web", 80, "http"))
    spec = pod_spec(served(), restart="Always")
    await namespace.create("deployments", deployment("web", spec, replicas=2))
    await namespace.until("deployments", "web", lambda it: it.get("status", {}).get("readyReplicas") == 2)

    env = [{"name": "URL", "value": f"http://web.{namespace.name}.svc.cluster.local/"}]
    await namespace.create("pods", pod("client", pod_spec(container(ASKS_PAGE, env=env))))
    await namespace.until("pods", "client", phase("Succeeded"))

    assert namespace.logs("client").startswith("it is web-")


async def test_a_broker_finds_its_configuration_and_clients_find_the_broker(namespace: Namespace) -> None:
    config = 'port: 4222\nhttp: 8222\njetstream { store_dir: "/data" }\ninclude "../access/users.conf"\n'
    access = "authorization { user: somebody, password: secret }\n"
    await namespace.create("configmaps", {"metadata": {"name": "nats"}, "data": {"nats.conf": config}})
    await namespace.create("secrets", {"metadata": {"name": "access"}, "stringData": {"users.conf": access}})
    places = {"config": "/etc/nats", "access": "/etc/access", "data": "/data"}
    broker = container(
        image="nats:2.15.1-alpine",
        command=["nats-server", "-c", "/etc/nats/nats.conf"],
        ports=[{"name": "client", "containerPort": 4222}, {"name": "monitor", "containerPort": 8222}],
        readinessProbe={"httpGet": {"port": "monitor", "path": "/healthz"}},
        volumeMounts=[{"name": name, "mountPath": path} for name, path in places.items()],
    )
    volumes = [
        {"name": "config", "configMap": {"name": "nats"}},
        {"name": "access", "secret": {"secretName": "access"}},
    ]
    await namespace.create("services", service("nats", 4222, "client", clusterIP="None"))
    spec = pod_spec(broker, restart="Always", volumes=volumes)
    await namespace.create("statefulsets", stateful_set("nats", spec, "data"))
    env = [{"name": "NATS", "value": f"nats://somebody:secret@nats.{namespace.name}.svc:4222"}]
    await namespace.create("pods", pod("client", pod_spec(container(ASKS_BROKER, env=env))))

    await namespace.until("pods", "client", phase("Succeeded"))

    assert namespace.logs("client") == "0\n"
    assert (namespace.cluster.folder / "claims" / namespace.name / "data-nats-0" / "jetstream").is_dir()


async def test_a_deleted_pod_is_asked_and_then_killed(namespace: Namespace) -> None:
    spec = pod_spec(container(STUBBORN), terminationGracePeriodSeconds=1)
    await namespace.create("pods", pod("stubborn", spec))
    await logged(namespace, "stubborn", "up")

    await namespace.delete("pods", "stubborn")

    ended = await namespace.until("pods", "stubborn", phase("Failed"))
    assert state_of(ended)["terminated"]["exitCode"] == 137
    await namespace.until("pods", "stubborn", lambda it: not it)
    assert namespace.logs("stubborn") == "up\nasked\n"


async def test_a_container_that_ends_is_run_again_and_finds_its_claim(namespace: Namespace) -> None:
    told = {
        "env": [{"name": "FILE", "value": "/data/file"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}]
    again = container(ONCE_TOO_EARLY, **told, **mounted("data", "/data"))
    await namespace.create("pods", pod("again", pod_spec(again, restart="Always", volumes=volumes)))

    await logged(namespace, "again", "kept")

    running = await namespace.until("pods", "again", lambda it: "running" in state_of(it))
    known = running["status"]["containerStatuses"][0]
    assert known["restartCount"] == 1
    assert known["lastState"]["terminated"]["exitCode"] == 1
    assert known["lastState"]["terminated"]["message"] == "too early\n"
