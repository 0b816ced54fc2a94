"""Rules for what pods and accounts may do. Each returns what is wrong."""

import re

import yaml

from services.scheduler.jobs.job import UID
from tests.kubernetes.manifests import WORKERS, Object, containers, of_kind, templates, title

AMOUNTS = {"cpu", "memory", "ephemeral-storage"}
# What Pod Security `restricted` lets a volume be, less what nobody here needs.
VOLUMES = {"configMap", "secret", "emptyDir", "projected"}
LAUNCHER = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list"]},
]
# How values look that belong into Secrets: Slack's, the model's, PEM and creds files, seeds of NKeys, JWTs.
SECRET = re.compile(r"xox[a-z]-|xapp-|sk-ant-|-----BEGIN|\bS[UAON][A-Z2-7]{40,}|\beyJ[\w-]{10,}")
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|CREDS")


def hardened(found: list[Object]) -> list[str]:
    """Pods are what Pod Security `restricted` asks for, with a read-only root, known amounts and nothing mounted unasked."""
    problems = []
    for owner, template in templates(found):
        spec = template["spec"]
        told = [*_pod(spec), *(each for one in containers(template) for each in _container(one))]
        problems += [f"{title(owner)}: {each}" for each in told]
    for each in of_kind(found, "Namespace"):
        if each["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            problems.append(f"{title(each)} lets pods be more than restricted")
    return problems


def _pod(spec: Object) -> list[str]:
    security = spec.get("securityContext", {})
    wanted = {
        "runAsNonRoot": security.get("runAsNonRoot") is True,
        "runAsUser": security.get("runAsUser") == security.get("runAsGroup") == UID,
        "seccompProfile": security.get("seccompProfile") == {"type": "RuntimeDefault"},
        "enableServiceLinks": spec.get("enableServiceLinks") is False,
        "automountServiceAccountToken": "automountServiceAccountToken" in spec,
        "host": not [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)],
        "volumes": all(VOLUMES & set(each) for each in spec.get("volumes", ())),
    }
    return [f"{name} is wrong" for name, holds in wanted.items() if not holds]


def _container(container: Object) -> list[str]:
    security, amounts = container.get("securityContext", {}), container.get("resources", {})
    wanted = {
        "readOnlyRootFilesystem": security.get("readOnlyRootFilesystem") is True,
        "allowPrivilegeEscalation": security.get("allowPrivilegeEscalation") is False,
        "capabilities": security.get("capabilities") == {"drop": ["ALL"]},
        "privileged": not security.get("privileged"),
        "requests": set(amounts.get("requests", {})) == AMOUNTS,
        "limits": set(amounts.get("limits", {})) == AMOUNTS,
        "command": bool(container.get("command")),
    }
    return [f"{name} of {container['name']} is wrong" for name, holds in wanted.items() if not holds]


def rights(found: list[Object]) -> list[str]:
    """The scheduler alone has a Role and a token, each workload an account of its own."""
    problems = [
        f"{title(each)}: rights in the whole cluster"
        for each in of_kind(found, "ClusterRole", "ClusterRoleBinding")
    ]
    problems += [
        f"{title(each)} grants {each['rules']}"
        for each in of_kind(found, "Role")
        if (each["metadata"]["namespace"], each["rules"]) != (WORKERS, LAUNCHER)
    ]
    problems += [
        f"{title(each)} binds {each['subjects']}"
        for each in of_kind(found, "RoleBinding")
        if [(who["kind"], who["name"]) for who in each["subjects"]] != [("ServiceAccount", "scheduler")]
    ]
    problems += [
        f"{title(each)} has its token mounted, or the scheduler has not"
        for each in of_kind(found, "ServiceAccount")
        if each.get("automountServiceAccountToken") is not (each["metadata"]["name"] == "scheduler")
    ]
    return problems + _accounts(found)


def _accounts(found: list[Object]) -> list[str]:
    problems, taken = [], set()
    for owner, template in templates(found):
        account = template["spec"].get("serviceAccountName", "default")
        if account in taken | {"default"}:
            problems.append(f"{title(owner)} shares the account {account}")
        taken.add(account)
        if template["spec"].get("automountServiceAccountToken") is not (account == "scheduler"):
            problems.append(f"{title(owner)} has a token of the API server's, or the scheduler has not")
    return problems


def secrets(found: list[Object]) -> list[str]:
    """No secret's value is rendered: neither as a Secret, nor as a variable, nor anywhere in a text."""
    problems = [f"{title(each)} holds values" for each in of_kind(found, "Secret")]
    problems += [
        f"{title(each)} holds what looks like a secret" for each in found if SECRET.search(yaml.dump(each))
    ]
    for owner, template in templates(found):
        problems += [
            f"{title(owner)}: {each['name']} has its value here"
            for container in containers(template)
            for each in container.get("env", ())
            if SECRET_NAME.search(each["name"]) and not each.get("value", "/").startswith("/")
        ]
    for each in of_kind(found, "ConfigMap"):
        problems += [
            f"{title(each)}: {key} has its value here"
            for key, value in each["data"].items()
            if key.isupper() and SECRET_NAME.search(key) and not value.startswith("/")
        ]
    return problems
