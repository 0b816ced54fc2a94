"""How the control plane's programs are told what to do. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICES = "10.96.0.0/16"
# What the ServiceAccounts of these namespaces ask is written down, whatever the answer; nobody else's.
AUDITED = ("threadmill", "threadmill-workers")
AUDIT_POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{each}" for each in AUDITED]},
        {"level": "None"},
    ],
}
AUDIT_LOG, POLICY = "audit.jsonl", "audit-policy.json"
# What a deployment needs of the controller manager. Nodes' health and taints, clouds and real volumes are nobody's here.
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "job-controller",
    "ttl-after-finished-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "resourcequota-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
    "disruption-controller",
    "endpointslice-controller",
    "persistentvolumeclaim-protection-controller",
)


def etcd(folder: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return flags(
        {
            "data-dir": str(folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            # What it holds is worth no more than the test: a kill of the process loses nothing all the same.
            "unsafe-no-fsync": "true",
            # It is alone: nobody is worth a second's wait before it elects itself.
            "heartbeat-interval": "10",
            "election-timeout": "100",
            "log-level": "warn",
        }
    )


def apiserver(folder: Path, port: int, etcd_port: int) -> list[str]:
    """Return its flags. Pod Security, quota and limits are enforced by default; who may do what is not."""
    key = str(folder / "accounts.key")
    return flags(
        {
            "etcd-servers": f"http://127.0.0.1:{etcd_port}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            # Whoever is told of a Service by its address is told so by the test kubelet.
            "endpoint-reconciler-type": "none",
            "secure-port": str(port),
            "cert-dir": str(folder / "certificates"),
            "authorization-mode": "RBAC",
            "token-auth-file": str(folder / "tokens.csv"),
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-account-issuer": ISSUER,
            "service-cluster-ip-range": SERVICES,
            "audit-policy-file": str(folder / POLICY),
            "audit-log-path": str(folder / AUDIT_LOG),
        }
    )


def controller_manager(folder: Path, port: int, kubeconfig: Path, trusted: Path) -> list[str]:
    return flags(
        {
            "kubeconfig": str(kubeconfig),
            "authentication-kubeconfig": str(kubeconfig),
            "authorization-kubeconfig": str(kubeconfig),
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(folder / "accounts.key"),
            "root-ca-file": str(trusted),
            "controllers": ",".join(CONTROLLERS),
            "leader-elect": "false",
            "bind-address": "127.0.0.1",
            "secure-port": str(port),
            # Its own defaults (20 a second) are made for a server that many share.
            "kube-api-qps": "200",
            "kube-api-burst": "400",
        }
    )


def flags(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
