"""Objects that tests ask a cluster for, and what they look for in its answers. Pure."""

from typing import Any

Object = dict[str, Any]
ALLOWED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
PAGE = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"it is " + os.environ["HOSTNAME"].encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["THREADMILL_HTTP_PORT"])), Handler).serve_forever()
"""


def container(code: str = "", **more: Any) -> Object:
    """Return a container that runs `code` with Python."""
    command = ["python", "-u", "-c", code]
    return {"name": "it", "image": "threadmill/test:1", "command": command, "securityContext": ALLOWED} | more


def served() -> Object:
    """Return a container that serves a page with its Pod's name, and is ready once it does."""
    ports, asked = [{"name": "http", "containerPort": 3000}], {"httpGet": {"port": "http", "path": "/"}}
    return container(PAGE, ports=ports, readinessProbe=asked)


def pod_spec(*containers: Object, restart: str = "Never", **more: Any) -> Object:
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 5, "containers": list(containers)}
    return spec | {"automountServiceAccountToken": False} | more


def pod(name: str, spec: Object, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def job(name: str, spec: Object, **more: Any) -> Object:
    template = {"metadata": {"labels": {"job": name}}, "spec": spec}
    inner = {"backoffLimit": 0, "template": template} | more
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": inner}


def deployment(name: str, spec: Object, replicas: int = 1) -> Object:
    labels = {"app": name}
    inner = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": inner}


def stateful_set(name: str, spec: Object, *claims: str) -> Object:
    """Return one of a single Pod, with a volume for each of `claims`."""
    room = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = deployment(name, spec)
    made["spec"] |= {"serviceName": name}
    made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": claim}, "spec": room} for claim in claims]
    return made | {"kind": "StatefulSet"}


def service(name: str, port: int, target: int | str, **more: Any) -> Object:
    spec = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target}]} | more
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def condition_of(obj: Object, kind: str) -> Object:
    """Return one of an object's conditions, empty where it has none of the kind."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def holds(kind: str) -> Any:
    """Return what tells whether a condition of an object is true."""
    return lambda obj: condition_of(obj, kind).get("status") == "True"


def phase(*wanted: str) -> Any:
    """Return what tells whether a Pod has come to one of the phases."""
    return lambda obj: obj.get("status", {}).get("phase") in wanted


def state_of(obj: Object) -> Object:
    """Return the state of a Pod's first container, empty before there is one."""
    known = obj.get("status", {}).get("containerStatuses") or [{}]
    state: Object = known[0].get("state") or {}
    return state
