"""What single components promise, and that what they repeat agrees with where it comes from."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from schemas.bus import BUCKETS, MAX_PAYLOAD, STREAMS
from services.local.broker import LIMITS
from tests.kubernetes import checks_settings
from tests.kubernetes.limits import amount
from tests.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    ROOT,
    WORKERS,
    Object,
    containers,
    environment,
    named,
    needs_kubectl,
    objects,
    of_kind,
    parsed,
    pools_of,
    rendered,
    templates,
    with_worker,
)
from tests.kubernetes.test_manifests import CHECKS, FOREIGN, invalid

pytestmark = needs_kubectl

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
METRIC = re.compile(r"threadmill_\w+")


def composed(folder: Path, *components: str) -> list[Object]:
    """Return the base with `components`."""
    k8s = os.path.relpath(K8S, folder)
    told = {"resources": [f"{k8s}/base"], "components": [f"{k8s}/components/{one}" for one in components]}
    (folder / "kustomization.yaml").write_text(yaml.dump(told))
    return parsed(rendered(folder))


@pytest.mark.parametrize(
    "components",
    [
        ("external-nats", "object-store", "monitoring"),
        ("nats", "slack-http", "object-store"),
        ("nats-cluster", "object-store", "simulator", "monitoring", "monitoring-nats"),
        ("nats", "object-store", "scale-on-lag"),
    ],
    ids="+".join,
)
def test_components_go_together(components: tuple[str, ...], tmp_path: Path) -> None:
    found = with_worker(composed(tmp_path, *components), tmp_path)
    assert invalid(found) == []
    assert {name: problems for name, check in CHECKS.items() if (problems := check(found))} == {}


def test_scaling_on_lag_asks_for_a_metric_that_there_is(tmp_path: Path) -> None:
    found = composed(tmp_path, "nats", "scale-on-lag")
    metrics = named(found, "HorizontalPodAutoscaler", "archiver")["spec"]["metrics"]
    asked = [each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"]
    assert asked
    assert set(asked) <= explained()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_brokers_disk_holds_the_map(overlay: str) -> None:
    broker = named(objects(overlay), "StatefulSet", "nats")["spec"]
    config = (K8S / "components" / "nats" / "node" / "nats.conf").read_text()
    most = int(re.search(r"max_file_store: (\d+)GB", config)[1]) * 2**30  # type: ignore[index]  # which NATS means by GB
    assert sum(max(stream.max_bytes, 0) for stream in STREAMS) + len(BUCKETS) * 2**28 < most
    assert most < amount(broker["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"])


def test_the_broker_is_set_as_in_local_mode() -> None:
    config = (K8S / "components" / "nats" / "node" / "nats.conf").read_text()
    for line in (
        f"max_payload: {MAX_PAYLOAD}",
        f"max_pending: {8 * MAX_PAYLOAD}",
        "sync_interval: always",
        LIMITS,
    ):
        assert line in config


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_streams_have_as_many_replicas_as_there_are_nodes_to_hold_them(overlay: str, tmp_path: Path) -> None:
    found = objects(overlay)
    nodes = named(found, "StatefulSet", "nats")["spec"]["replicas"]
    for owner, template in templates(found):
        for container in containers(template):
            if checks_settings.ours(container["image"]) in checks_settings.DRAIN:
                told = environment(found, owner, container)
                assert int(told.get("THREADMILL_NATS_REPLICAS", "1")) == nodes, owner["metadata"]["name"]
    for name, pool in pools_of(found, tmp_path).pools.items():
        assert int(pool.environment.get("THREADMILL_NATS_REPLICAS", "1")) == nodes, name


def test_a_cluster_names_each_of_its_nodes() -> None:
    routes = (K8S / "components" / "nats-cluster" / "cluster.conf").read_text()
    broker = named(objects("prod"), "StatefulSet", "nats")
    expected = [
        f"nats-{number}.{broker['spec']['serviceName']}" for number in range(broker["spec"]["replicas"])
    ]
    assert re.findall(r"nats://([\w-]+\.[\w-]+)\.threadmill\.svc:6222", routes) == expected


def test_secrets_from_a_store_are_those_that_pods_name() -> None:
    stored = {
        (each["metadata"]["namespace"], each["spec"]["target"]["name"]): {
            one["secretKey"] for one in each["spec"]["data"]
        }
        for each in of_kind(objects("prod"), "ExternalSecret")
    }
    assert set(stored) == set(checks_settings.SECRETS)
    for which, keys in stored.items():
        assert keys <= checks_settings.SECRETS[which], which


def test_the_steps_before_ci_make_every_secret() -> None:
    told = (K8S / "overlays" / "ci" / "kustomization.yaml").read_text()
    made = set(re.findall(r"kubectl -n (\S+) create secret generic (\S+)", told))
    assert made == set(checks_settings.SECRETS)
    for keys in checks_settings.SECRETS.values():
        for key in keys - {"SLACK_SIGNING_SECRET"}:
            assert key in told, key


def test_alerts_are_those_of_the_page() -> None:
    written = re.search(r"```yaml alerts\n(.*?)```", OPERATIONS, re.DOTALL)
    assert written
    assert named(objects("prod"), "PrometheusRule", "threadmill")["spec"] == yaml.safe_load(written[1])


def explained() -> set[str]:
    """Return the metrics of the page, which a test there compares with what services count."""
    return set(re.findall(r"^\| `(threadmill_\w+)` \|", OPERATIONS, re.MULTILINE))


def test_the_dashboard_shows_metrics_that_there_are_and_all_of_them_that_people_feel() -> None:
    board = json.loads(named(objects("prod"), "ConfigMap", "threadmill-dashboard")["data"]["dashboard.json"])
    asked = {
        re.sub(r"(?<=_seconds)_bucket$", "", metric)
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for metric in METRIC.findall(target["expr"])
    }
    assert asked <= explained()
    assert explained() - asked <= {
        "threadmill_archive_objects_total",
        "threadmill_archive_bytes_total",
        "threadmill_expired_sessions_total",
    }
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_of_a_registry_are_taken_by_digest_that_of_workers_too(overlay: str, tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    names = ("ingress", "scheduler", "archiver", "worker", "all-in-one")
    images = [
        {"name": f"threadmill/{each}", "newName": f"registry.example.com/{each}", "digest": digest}
        for each in names
    ]
    around = {"resources": [f"{os.path.relpath(K8S, tmp_path)}/overlays/{overlay}"]}
    around |= {"images": images, "configurations": ["images.yaml"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.dump(around))
    (tmp_path / "images.yaml").write_text((K8S / "overlays" / overlay / "images.yaml").read_text())
    found = with_worker(parsed(rendered(tmp_path)), tmp_path)
    used = {container["image"] for _, template in templates(found) for container in containers(template)}
    assert not [each for each in used if each.startswith("threadmill/")]
    assert {f"registry.example.com/{each}@{digest}" for each in names[:4]} <= used


def test_the_archiver_alone_has_an_identity_in_the_cloud() -> None:
    found = objects("prod")
    given = {
        each["metadata"]["name"]: each["metadata"].get("annotations", {})
        for each in of_kind(found, "ServiceAccount")
    }
    assert not any(
        "iam.gke.io" in key for name, notes in given.items() if name != "archiver" for key in notes
    )


def test_foreign_kinds_are_all_used() -> None:
    assert {each["kind"] for each in of_kind(objects("prod"), *FOREIGN)} == set(FOREIGN)


def test_workers_are_told_of_the_broker_by_the_name_of_its_service() -> None:
    for overlay in OVERLAYS:
        found = objects(overlay)
        assert named(found, "Service", "nats")
        pools = next(
            each for each in of_kind(found, "ConfigMap") if each["metadata"]["name"].startswith("pools")
        )
        told = yaml.safe_load(pools["data"]["pools.yaml"])
        assert told["namespace"] == WORKERS
        assert {each["environment"]["THREADMILL_NATS_URL"] for each in told["pools"].values()} == {
            "nats://nats.threadmill.svc:4222"
        }
