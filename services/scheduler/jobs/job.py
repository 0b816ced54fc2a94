"""The Job of one worker. Pure: from a pool and a name to what the API server is sent."""

from typing import Any

from services.scheduler.environment import CREDS, DATA, POOL, TEMPORARY, WORKER
from services.scheduler.jobs.naming import worker_of
from services.scheduler.jobs.pools import Pool, Pools

DOMAIN = "threadmill.dev"
POOL_LABEL, TEMPLATE_LABEL = f"{DOMAIN}/pool", f"{DOMAIN}/template"
SINCE_ANNOTATION = f"{DOMAIN}/since"
SESSION_ANNOTATION = f"{DOMAIN}/session"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
COMPONENT = "worker"
CONTAINER = "worker"

# Of the images' own user; no process in them is root.
UID = 10001
# The word of the cluster for who a worker is, of no use to the API server.
TOKEN_FOLDER, TOKEN_FILE = "/var/run/threadmill", "token"
# The shortest that Kubernetes grants.
TOKEN_SECONDS = 600
DOOR_FOLDER, DOOR_FILE = "/var/run/threadmill-door", "door.creds"
ROOM, TEMPORARY_ROOM = "/data", "/tmp"  # noqa: S108 (a volume of the pod's own)
OWN_REPOSITORIES = "THREADMILL_OWN_REPOSITORIES"
LIFE, TOKEN, STRICT = "THREADMILL_LIFE_SECONDS", "THREADMILL_TOKEN", "THREADMILL_STRICT"
UID_LABEL, UID_VARIABLE = "batch.kubernetes.io/controller-uid", "JOB_UID"
# A Job that has ended stays so long for a person to look at.
KEPT_SECONDS = 600

SPOT = {
    "gke": {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    "eks": {
        "key": "eks.amazonaws.com/capacityType",
        "operator": "Equal",
        "value": "SPOT",
        "effect": "NoSchedule",
    },
    "aks": {
        "key": "kubernetes.azure.com/scalesetpriority",
        "operator": "Equal",
        "value": "spot",
        "effect": "NoSchedule",
    },
}


def labels_of(pool: str) -> dict[str, str]:
    """Return the labels of every Job and Pod of `pool`."""
    return {
        "app.kubernetes.io/name": "threadmill",
        "app.kubernetes.io/component": COMPONENT,
        "app.kubernetes.io/managed-by": "threadmill-scheduler",
        POOL_LABEL: pool,
    }


def job_of(name: str, pool_name: str, pools: Pools, since: str = "") -> dict[str, Any]:
    """Return the Job `name` of one worker, made by a scheduler that began at `since`.

    It runs once: whether a session is worked on again is the scheduler's to say, not the Job controller's.
    """
    pool = pools.pools[pool_name]
    marks = labels_of(pool_name) | {TEMPLATE_LABEL: pool.template}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": pools.namespace,
            "labels": marks,
            "annotations": {SINCE_ANNOTATION: since},
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "activeDeadlineSeconds": pool.life_seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
                ]
            },
            "template": {
                # An idle worker may go when its node is not needed; one that works is marked when it begins.
                "metadata": {"labels": marks, "annotations": {SAFE_TO_EVICT: "true"}},
                "spec": _pod(pool_name, pools),
            },
        },
    }


def _pod(pool_name: str, pools: Pools) -> dict[str, Any]:
    pool = pools.pools[pool_name]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": pools.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # What an agent leaves behind is reaped by the Pod, whose first process this one is not then.
        "shareProcessNamespace": True,
        "terminationGracePeriodSeconds": pool.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pool_name, pool)],
        "volumes": _volumes(pool, pools),
    }
    return spec | _placement(pool)


def _container(pool_name: str, pool: Pool) -> dict[str, Any]:
    given = pool.resources
    return {
        "name": CONTAINER,
        "image": pool.image,
        "command": ["python", "-m", "services.worker"],
        "env": _environment(pool_name, pool),
        "resources": {
            "requests": {
                "cpu": given.cpu_request,
                "memory": given.memory_request,
                "ephemeral-storage": given.disk,
            },
            "limits": {"cpu": given.cpu_limit, "memory": given.memory_limit, "ephemeral-storage": given.disk},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": ROOM},
            {"name": "tmp", "mountPath": TEMPORARY_ROOM},
            {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True},
            {"name": "door", "mountPath": DOOR_FOLDER, "readOnly": True},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(pool_name: str, pool: Pool) -> list[dict[str, Any]]:
    own = {
        WORKER: worker_of(f"$({UID_VARIABLE})"),
        POOL: pool_name,
        # It hands over while there is time to.
        LIFE: str(max(1, pool.life_seconds - pool.grace_seconds)),
        TOKEN: f"{TOKEN_FOLDER}/{TOKEN_FILE}",
        CREDS: f"{DOOR_FOLDER}/{DOOR_FILE}",
        DATA: ROOM,
        # What lies in the Pod goes with it.
        OWN_REPOSITORIES: "false",
        STRICT: "true",
        "HOME": ROOM,
        TEMPORARY: TEMPORARY_ROOM,
    }
    uid = {"fieldRef": {"fieldPath": f"metadata.labels['{UID_LABEL}']"}}
    given = [{"name": key, "value": value} for key, value in (pool.environment | own).items()]
    return [{"name": UID_VARIABLE, "valueFrom": uid}, *given]


def _volumes(pool: Pool, pools: Pools) -> list[dict[str, Any]]:
    room = {"emptyDir": {"sizeLimit": pool.resources.disk}}
    token = {"audience": pools.audience, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN_FILE}
    return [
        {"name": "data"} | room,
        {"name": "tmp"} | room,
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "door", "secret": {"secretName": pools.door}},
    ]


def _placement(pool: Pool) -> dict[str, Any]:
    spot = (SPOT[pool.spot],) if pool.spot else ()
    wanted = {
        "nodeSelector": pool.node_selector,
        "tolerations": [*pool.tolerations, *spot],
        "runtimeClassName": pool.runtime_class,
        "priorityClassName": pool.priority_class,
        "imagePullSecrets": [{"name": pool.pull_secret}] if pool.pull_secret else [],
    }
    return {key: value for key, value in wanted.items() if value} | (
        {} if pool.host_users else {"hostUsers": False}
    )
