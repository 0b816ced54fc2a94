"""What tells whether a release works: a worker of its own that was let in, whatever else there is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from services.scheduler.jobs.job import TEMPLATE_LABEL, labels_of
from services.scheduler.jobs.pools import Pools
from tests.kubernetes.manifests import K8S
from tests.workflows.bench import ROOT, Bench

POOLS, IMAGE = K8S / "base" / "pools.yaml", "registry.example/threadmill/worker@sha256:abc"
BEFORE = "registry.example/threadmill/worker@sha256:before"
SETTINGS = {
    "THREADMILL_POOLS": str(POOLS),
    "THREADMILL_WORKER_IMAGE": IMAGE,
    "THREADMILL_SIGNING_KEY": "/etc/threadmill/workers.key",
}
SCHEDULER = {"app.kubernetes.io/component": "scheduler"}
SAID = """
import structlog
from services.runtime.log import configure_logging
configure_logging("worker")
structlog.get_logger().info({event!r}, pool="default")
"""


def said(event: str) -> str:
    """Return the line of a worker's log."""
    program = [sys.executable, "-c", SAID.format(event=event)]
    return subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30).stderr


WAITING, KNOCKS = said("waiting"), said("waiting for the scheduler")


def template(image: str) -> str:
    return Pools.read(POOLS, image).pools["default"].template


def worker(
    name: str, *, image: str = IMAGE, phase: str = "Running", log: str = WAITING, after: int = 0
) -> dict[str, Any]:
    labels = labels_of("default") | {TEMPLATE_LABEL: template(image)}
    return {"name": name, "labels": labels, "phase": phase, "log": log, "after": after}


def smoke(bench: Bench, *workers: dict[str, Any], **services: bool) -> subprocess.CompletedProcess[str]:
    """Run the step before a cluster in which `workers` are; one `after` n comes while it sleeps for the nth time."""
    schedulers = [{"name": f"scheduler-{age}", "labels": SCHEDULER} for age in ("old", "new")]
    rolled_out = {"ingress": True, "scheduler": True} | services
    cluster = bench.folder / "cluster.json"
    cluster.write_text(
        json.dumps({"services": rolled_out, "pods": [*schedulers, *workers], "settings": SETTINGS})
    )
    return bench.run("smoke", CLUSTER=str(cluster))


@pytest.fixture(autouse=True)
def kubectl(bench: Bench) -> None:
    program = Path(__file__).with_name("cluster.py")
    bench.stand_in("kubectl", f'exec {sys.executable} -S {program} "$@"\n')


def test_a_worker_that_waits_shows_that_the_release_works(bench: Bench) -> None:
    ended = smoke(bench, worker("new"))
    assert ended.returncode == 0, ended.stderr
    assert "pod/new was let in" in ended.stdout


def test_a_busy_cluster_with_ended_workers_works(bench: Bench) -> None:
    ended = smoke(
        bench,
        worker("ended", phase="Succeeded"),
        worker("failed", phase="Failed"),
        worker("busy", image=BEFORE),
        worker("starting", phase="Pending", log=""),
        worker("new", after=2),
    )
    assert ended.returncode == 0, ended.stderr
    assert "pod/new was let in" in ended.stdout


def test_between_one_worker_and_the_next_there_may_be_none(bench: Bench) -> None:
    assert "pod/new was let in" in smoke(bench, worker("new", after=3)).stdout


def test_whoever_else_runs_shows_nothing(bench: Bench) -> None:
    ended = smoke(
        bench,
        worker("busy", image=BEFORE),
        worker("ended", phase="Succeeded"),
        worker("knocking", log=KNOCKS),
    )
    assert ended.returncode
    assert ended.stderr.startswith(f"no worker of the template {template(IMAGE)} was let in")


def test_a_service_that_does_not_roll_out_is_not_waited_past(bench: Bench) -> None:
    assert smoke(bench, worker("new"), ingress=False).returncode
    assert not [call for call in bench.calls if "template" in call]
