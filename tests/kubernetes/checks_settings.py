"""Rules for what containers are told: images, variables, files, and the time that they have. Each returns what is wrong."""

import inspect
import re
import typing
from pathlib import PurePosixPath

import typer

from services.archiver.app import DRAIN_SECONDS
from services.archiver.settings import ArchiverSettings, check
from services.cli.sim import sim
from services.ingress.receiving import LATE_WORK
from services.ingress.settings import IngressSettings
from services.runtime.connection import CLOSE_SECONDS
from services.runtime.errors import SettingsError
from services.runtime.health import SHUTDOWN_SECONDS, Readiness, health_routes
from services.runtime.lifecycle import ProcessSettings, ServiceSettings
from services.runtime.settings import load
from services.scheduler.__main__ import SchedulerProcess
from services.scheduler.settings import SchedulerSettings
from services.worker.settings import WorkerSettings
from tests.kubernetes.manifests import VERSION, Object, containers, environment, of_kind, templates, title

KINDS: dict[str, type[ProcessSettings]] = {
    "ingress": IngressSettings,
    "scheduler": SchedulerProcess,
    "archiver": ArchiverSettings,
    "worker": WorkerSettings,
}
IMAGES = {*KINDS, "all-in-one"}
# Containers that run something else of one of our images: git stands in the workers'.
OTHER_USES = {"repository": "worker"}
IMAGE = re.compile(r"(?P<name>[^@]+?):(?P<tag>[\w.-]+)(@sha256:[0-9a-f]{64})?")
# Where what an image's own processes write would be: each has its room.
MOUNTED = "/etc/threadmill/"
DRAIN = {
    "ingress": LATE_WORK + IngressSettings().writer.drain_within + SHUTDOWN_SECONDS,
    "scheduler": SchedulerSettings().drain_grace,
    "archiver": DRAIN_SECONDS,
}


def ours(image: str) -> str:
    """Return which of our images it is, empty for another's."""
    found = re.search(r"(?:^|/)threadmill/([\w-]+):", image)
    return found[1] if found else ""


def serves(container: Object) -> str:
    """Return which of our services a container runs, empty where it runs something else of our image, or another's."""
    kind = ours(container["image"])
    return kind if kind in KINDS and container["name"] not in OTHER_USES else ""


def images(found: list[Object]) -> list[str]:
    """Images have a version, ours that of the code, and each service runs its own."""
    problems = []
    for owner, template in templates(found):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in containers(template):
            parts = IMAGE.fullmatch(container["image"])
            if not parts or parts["tag"] == "latest":
                problems.append(f"{title(owner)}: {container['image']} has no version")
            elif kind := ours(container["image"]):
                if kind not in IMAGES or parts["tag"] != VERSION:
                    problems.append(f"{title(owner)}: there is no {container['image']}")
                if container["name"] == component and kind != OTHER_USES.get(component, component):
                    problems.append(f"{title(owner)} runs {container['image']}")
    return problems


def commands(found: list[Object]) -> list[str]:
    """Our images run what they are for."""
    return [
        f"{title(owner)} runs {container['command']}"
        for owner, template in templates(found)
        for container in containers(template)
        if (kind := serves(container)) and container["command"] != ["python", "-m", f"services.{kind}"]
    ]


def settings(found: list[Object]) -> list[str]:
    """Each service starts with what it is told, and asks for all of it."""
    problems = []
    for owner, template in templates(found):
        for container in containers(template):
            told = environment(found, owner, container)
            if kind := serves(container):
                problems += [f"{title(owner)}: {each}" for each in _loads(kind, told)]
            elif ours(container["image"]) == "all-in-one":
                problems += [f"{title(owner)}: nobody asks for {each}" for each in sorted(set(told) - _sim())]
    return problems


def _loads(kind: str, told: dict[str, str]) -> list[str]:
    # What a Secret holds is not told here; that it is asked for can be seen from its name.
    given = {name: value or "from a Secret" for name, value in told.items()}
    try:
        loaded = load(KINDS[kind], given, strict=True)
        if isinstance(loaded, ArchiverSettings):
            check(loaded)
    except SettingsError as e:
        return [str(e)]
    return []


def _sim() -> set[str]:
    """Return the variables that `threadmill sim` asks for."""
    hints = typing.get_type_hints(sim, include_extras=True)
    options = [each for name in inspect.signature(sim).parameters for each in hints[name].__metadata__]
    return {str(option.envvar) for option in options if isinstance(option, typer.models.OptionInfo)}


def probes(found: list[Object]) -> list[str]:
    """Probes of our services ask a page that is served, at the port that the settings say."""
    pages = {route.path for route in health_routes(Readiness({}))}
    problems = []
    for owner, template in templates(found):
        for container in containers(template):
            kind = serves(container)
            if not kind or owner["kind"] == "Job":
                continue
            told = environment(found, owner, container)
            loaded = load(KINDS[kind], {name: value or "from a Secret" for name, value in told.items()})
            assert isinstance(loaded, ServiceSettings)
            numbers = {port["name"]: port["containerPort"] for port in container["ports"]}
            asked = {name: one["httpGet"] for name, one in container.items() if name.endswith("Probe")}
            problems += [
                f"{title(owner)}: {name} asks for {one['path']} at {one['port']}"
                for name, one in asked.items()
                if one["path"] not in pages or numbers.get(one["port"]) != loaded.health_port
            ]
            if not {"livenessProbe", "readinessProbe"} <= set(asked):
                problems.append(f"{title(owner)} is not asked whether it lives and is ready")
            if isinstance(loaded, IngressSettings) and numbers.get("http") != loaded.http_port:
                problems.append(f"{title(owner)} declares another port than it listens on")
    return problems


def files(found: list[Object]) -> list[str]:
    """Files that settings name are where a ConfigMap, a Secret or an account is mounted, under a key that it has."""
    problems = []
    for owner, template in templates(found):
        keys = {each["name"]: _keys(found, owner, each) for each in template["spec"]["volumes"]}
        for container in containers(template):
            mounts = {each["mountPath"]: keys.get(each["name"]) for each in container.get("volumeMounts", ())}
            told = list(environment(found, owner, container).values())
            told += [part.partition("=")[2] or part for part in container["command"]]
            problems += [
                f"{title(owner)}: nothing is mounted at {path}"
                for path in told
                if path.startswith(MOUNTED) and not _is_file(PurePosixPath(path), mounts)
            ]
    return problems


def _keys(found: list[Object], owner: Object, volume: Object) -> set[str] | None:
    """Return the files of a volume, None where they are not known beforehand."""
    if "configMap" in volume:
        name, namespace = volume["configMap"]["name"], owner["metadata"]["namespace"]
        held = [
            each["data"]
            for each in of_kind(found, "ConfigMap")
            if (each["metadata"]["name"], each["metadata"]["namespace"]) == (name, namespace)
        ]
        return set(held[0]) if held else set()
    if "secret" in volume:
        return SECRETS.get((owner["metadata"]["namespace"], volume["secret"]["secretName"]), set())
    return None


def _is_file(path: PurePosixPath, mounts: dict[str, set[str] | None]) -> bool:
    if str(path) in mounts:
        return True
    keys = mounts.get(str(path.parent), set())
    return keys is None or path.name in keys


# What an operator makes before anything is applied; overlays/ci says how, external-secrets has the same from a store.
SECRETS: dict[tuple[str, str], set[str]] = {
    ("threadmill", "nats-broker"): {"broker.conf"},
    ("threadmill", "ingress-nats"): {"ingress.creds"},
    ("threadmill", "scheduler-nats"): {"scheduler.creds", "workers.key"},
    ("threadmill", "archiver-nats"): {"archiver.creds"},
    ("threadmill", "slack"): {"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"},
    ("threadmill", "agent"): {"ANTHROPIC_API_KEY", "GIT_USER", "GIT_PASSWORD"},
    ("threadmill-workers", "door"): {"door.creds"},
}


def known_secrets(found: list[Object]) -> list[str]:
    """Secrets that pods name are among those that an operator is told to make."""
    problems = []
    for owner, template in templates(found):
        namespace = owner["metadata"]["namespace"]
        wanted = [
            (each["secret"]["secretName"], "") for each in template["spec"]["volumes"] if "secret" in each
        ]
        wanted += [
            (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"])
            for container in containers(template)
            for each in container.get("env", ())
            if "secretKeyRef" in each.get("valueFrom", {})
        ]
        problems += [
            f"{title(owner)}: nobody makes the Secret {name} {key}"
            for name, key in wanted
            if (namespace, name) not in SECRETS or (key and key not in SECRETS[namespace, name])
        ]
    return problems


def patience(found: list[Object]) -> list[str]:
    """Pods are given longer than they take to leave: the wait before, the drain, the page's end, the broker's goodbye."""
    problems = []
    for owner, template in templates(found):
        component = template["metadata"]["labels"]["app.kubernetes.io/component"]
        if component not in DRAIN:
            continue
        before = [each.get("lifecycle", {}).get("preStop", {}) for each in containers(template)]
        waits = max(each.get("sleep", {}).get("seconds", 0) for each in before)
        needed = waits + DRAIN[component] + SHUTDOWN_SECONDS + 2 * CLOSE_SECONDS
        if template["spec"].get("terminationGracePeriodSeconds", 30) <= needed:
            problems.append(f"{title(owner)} is killed while it drains, which takes {needed:g} s")
        if waits and owner["spec"].get("strategy", {}).get("type") == "Recreate":
            problems.append(f"{title(owner)} waits before it leaves, and nobody is there meanwhile")
    return problems
