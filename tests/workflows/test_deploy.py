"""A version into an environment: by digest, signed, and nothing beside it."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.kubernetes_page import ACME, tree
from tests.workflows.bench import REGISTRY, Bench, digest, kubectl

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  template:
    spec:
      containers:
        - name: NAME
          image: threadmill/NAME:0.1.0
          env: [{name: THREADMILL_WORKER_IMAGE, value: "threadmill/worker:0.1.0"}]
"""
# An overlay as a team writes it that pushes images by itself.
RENAMED = """
configurations: [images.yaml]
images: [{name: threadmill/NAME, newName: europe.example/acme/threadmill/NAME, newTag: 0.1.0}]
"""
VARIABLES = "images: [{kind: Deployment, path: spec/template/spec/containers/env/value}]"
SIGNER = "https://example/images.yml"


@pytest.fixture
def overlay(bench: Bench) -> Bench:
    """A bench with an overlay `here` of all services."""
    if kubectl() is None:
        pytest.skip("kubectl is not installed")
    folder = here(bench)
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text(
        "---".join(DEPLOYMENT.replace("NAME", n) for n in ("ingress", "scheduler", "archiver"))
    )
    return bench


def deploy(overlay: Bench, **settings: str) -> subprocess.CompletedProcess[str]:
    return overlay.run("deploy", OVERLAY="here", VERSION="v1.0.0", SIGNER=SIGNER, **settings)


def here(overlay: Bench) -> Path:
    return overlay.folder / "k8s" / "overlays" / "here"


def test_a_version_is_deployed_by_digest_after_its_signatures_were_checked(overlay: Bench) -> None:
    ended = deploy(overlay)
    assert ended.returncode == 0, ended.stderr
    for deployment in yaml.safe_load_all(overlay.applied.read_text()):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{REGISTRY}/{container['name']}@sha256:{digest(container['name'])}"
        assert container["env"][0]["value"] == f"{REGISTRY}/worker@sha256:{digest('worker')}"
    verified = [call for call in overlay.calls if call.startswith("cosign verify")]
    assert len(verified) == 5
    assert all(f"^{SIGNER}@refs/(heads/main|tags/v.*)$" in call for call in verified)


def test_an_image_that_nobody_signed_is_not_deployed(overlay: Bench) -> None:
    assert deploy(overlay, UNSIGNED="/scheduler@").returncode
    assert not overlay.applied.exists()


def test_an_overlay_that_names_an_image_otherwise_is_not_deployed(overlay: Bench) -> None:
    all_of_it = here(overlay) / "all.yaml"
    all_of_it.write_text(all_of_it.read_text().replace("threadmill/ingress", "threadmill/entrance"))
    ended = deploy(overlay)
    assert ended.returncode
    assert "threadmill/entrance" in ended.stderr
    assert not overlay.applied.exists()


@pytest.mark.parametrize("name", ["ingress", "scheduler", "archiver", "worker"])
def test_an_overlay_that_renames_images_itself_is_not_deployed(overlay: Bench, name: str) -> None:
    (here(overlay) / "images.yaml").write_text(VARIABLES)
    with (here(overlay) / "kustomization.yaml").open("a") as file:
        file.write(RENAMED.replace("NAME", name))
    ended = deploy(overlay)
    assert ended.returncode
    assert f"europe.example/acme/threadmill/{name}:0.1.0" in ended.stderr
    assert not overlay.applied.exists()


@pytest.mark.parametrize("ours", ["image: threadmill/ingress:0.1.0", 'value: "threadmill/worker:0.1.0"'])
def test_an_overlay_that_runs_something_else_in_place_of_ours_is_not_deployed(
    overlay: Bench, ours: str
) -> None:
    all_of_it = here(overlay) / "all.yaml"
    key, _, _ = ours.partition(" ")
    all_of_it.write_text(all_of_it.read_text().replace(ours, f"{key} europe.example/acme/tools:7"))
    ended = deploy(overlay)
    assert ended.returncode
    assert not overlay.applied.exists()


def test_an_overlay_that_stands_on_ours_is_deployed_without_images_of_its_own(bench: Bench) -> None:
    if kubectl() is None:
        pytest.skip("kubectl is not installed")
    tree(bench.folder)
    refused = bench.run("deploy", OVERLAY=ACME, VERSION="v1.0.0", SIGNER=SIGNER)
    assert "europe-west1-docker.pkg.dev/acme-agents/threadmill/ingress:0.1.0" in refused.stderr
    assert not bench.applied.exists()
    ended = bench.run("deploy", OVERLAY="prod", VERSION="v1.0.0", SIGNER=SIGNER)
    assert ended.returncode == 0, ended.stderr


def test_images_of_others_are_deployed_as_they_are(overlay: Bench) -> None:
    all_of_it = here(overlay) / "all.yaml"
    beside = DEPLOYMENT.replace("threadmill/NAME:0.1.0", "europe.example/acme/worker:7")
    all_of_it.write_text(f"{all_of_it.read_text()}---{beside.replace('NAME', 'beside')}")
    ended = deploy(overlay)
    assert ended.returncode == 0, ended.stderr
    assert "image: europe.example/acme/worker:7" in overlay.applied.read_text()


def test_an_overlay_that_there_is_not_is_said(bench: Bench) -> None:
    ended = bench.run("deploy", OVERLAY="nowhere", VERSION="v1", SIGNER="https://example")
    assert "there is no k8s/overlays/nowhere" in ended.stderr
