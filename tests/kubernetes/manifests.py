"""The overlays as kubectl renders them, and what they hold."""

import functools
import os
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.scheduler.jobs.job import job_of
from services.scheduler.jobs.pools import Pools
from tests.kubernetes import assets

Object = dict[str, Any]
ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir() if path.is_dir())
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SERVICES, WORKERS = "threadmill", "threadmill-workers"
SETTING = "THREADMILL_WORKER_IMAGE"


def _kubectl() -> str:
    """Return why there is none, empty where there is one."""
    try:
        assets.folder()
    except assets.NoAssets as e:
        return str(e)
    return ""


# In CI a control plane that is not there is a failure.
needs_kubectl = pytest.mark.skipif(
    bool(_kubectl()) and "CI" not in os.environ, reason=_kubectl() or "it is there"
)


@functools.cache
def rendered(folder: Path) -> str:
    """Return the kustomization in `folder` as YAML. Raises `NoAssets`."""
    kubectl = assets.folder() / "kubectl"
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # what is deprecated is told here
    return done.stdout


def parsed(text: str) -> list[Object]:
    """Return what stands in `text`."""
    # Written in C where it was built so: some thousand lines take a second else.
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def objects(overlay: str) -> list[Object]:
    """Return all objects of `overlay`, each time anew."""
    return parsed(rendered(K8S / "overlays" / overlay))


def of_kind(found: list[Object], *kinds: str) -> list[Object]:
    return [each for each in found if each["kind"] in kinds]


def named(found: list[Object], kind: str, name: str, namespace: str = SERVICES) -> Object:
    (one,) = (
        each
        for each in of_kind(found, kind)
        if (each["metadata"]["name"], each["metadata"].get("namespace")) == (name, namespace)
    )
    return one


def title(each: Object) -> str:
    """What a person calls the object."""
    about = each["metadata"]
    return f"{each['kind']} {about.get('namespace', '')}/{about['name']}"


def pools_of(found: list[Object], folder: Path) -> Pools:
    """Return the pools as the scheduler of `found` reads them, by way of a file in `folder`."""
    (config,) = (each for each in of_kind(found, "ConfigMap") if each["metadata"]["name"].startswith("pools"))
    file = folder / "pools.yaml"
    file.write_text(config["data"]["pools.yaml"])
    scheduler = named(found, "Deployment", "scheduler")["spec"]["template"]["spec"]["containers"][0]
    (image,) = (each["value"] for each in scheduler["env"] if each["name"] == SETTING)
    return Pools.read(file, image)


def with_worker(found: list[Object], folder: Path) -> list[Object]:
    """Return `found` and one Job of the default pool, as the scheduler would make it."""
    return [*found, job_of("threadmill-worker-0123456789abcdef", "default", pools_of(found, folder))]


def templates(found: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Yield each object that makes pods, with its pod template."""
    for each in of_kind(found, "Deployment", "StatefulSet", "Job"):
        yield each, each["spec"]["template"]


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def environment(found: list[Object], owner: Object, container: Object) -> dict[str, str]:
    """Return the variables of `container` as far as no Secret holds them."""
    namespace = owner["metadata"]["namespace"]
    told: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        told |= named(found, "ConfigMap", source["configMapRef"]["name"], namespace)["data"]
    return told | {each["name"]: each.get("value", "") for each in container.get("env", ())}


def ports(template: Object) -> Mapping[str, int]:
    """Return the pod's ports by their names."""
    return {
        port["name"]: port["containerPort"]
        for container in containers(template)
        for port in container.get("ports", ())
    }
