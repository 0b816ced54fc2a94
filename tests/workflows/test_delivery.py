"""The steps that name, sign and deploy images, with stand-ins for the programs that would reach outside."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RECORD = 'echo "$(basename "$0") $*" >> "$RECORD"\n'
DOCKER = 'case "$*" in *inspect*) for last; do :; done; echo "sha256:$(echo "${last%:*}" | sha256sum | cut -c1-64)";; esac\n'
COSIGN = 'case "$*" in *"${UNSIGNED:-nothing}"*) exit 1;; esac\n'
KUBECTL = 'case "$1" in kustomize) exec "$KUBECTL" "$@";; apply) cp "$3" "$APPLIED";; esac\n'
REGISTRY = "registry.example/team/threadmill"
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


class Bench:
    """A copy of the steps, in a folder with an overlay, and the stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record, self.applied = folder / "record", folder / "applied.yaml"
        shutil.copytree(ROOT / "delivery", folder / "delivery")
        programs = {"docker": DOCKER, "cosign": COSIGN, "kubectl": KUBECTL}
        (folder / "bin").mkdir()
        for name, text in programs.items():
            (folder / "bin" / name).write_text(f"#!/bin/sh\n{RECORD}{text}")
            (folder / "bin" / name).chmod(0o755)

    def run(self, step: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "RECORD": str(self.record)}
        given |= {"APPLIED": str(self.applied), "REGISTRY": REGISTRY, "KUBECTL": kubectl() or ""}
        command = ["sh", f"delivery/{step}"]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=given | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


def kubectl() -> str | None:
    cached = sorted((ROOT / ".cache" / "kube").glob("*/kubectl"))
    return shutil.which("kubectl") or next(map(str, cached), None)


def digest(image: str) -> str:
    return hashlib.sha256(f"{REGISTRY}/{image}\n".encode()).hexdigest()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_architecture_is_noted_once_its_bill_of_materials_is_attached(bench: Bench) -> None:
    assert bench.run("attest", IMAGE="worker", DIGEST="sha256:abc").returncode == 0
    (attested,) = bench.calls
    assert attested.endswith(f"{REGISTRY}/worker@sha256:abc")
    assert [note.name for note in (bench.folder / ".cache" / "digests").iterdir()] == ["abc"]


def test_an_image_gets_its_name_with_both_architectures_and_is_signed_by_digest(bench: Bench) -> None:
    for each in ("sha256:aaa", "sha256:bbb"):
        bench.run("attest", IMAGE="worker", DIGEST=each)
    assert bench.run("publish", IMAGE="worker", TAG="v1.0.0").returncode == 0
    created, _, signed = bench.calls[2:]
    assert f"--tag {REGISTRY}/worker:v1.0.0" in created
    assert f"{REGISTRY}/worker@sha256:aaa {REGISTRY}/worker@sha256:bbb" in created
    assert signed == f"cosign sign --yes --recursive {REGISTRY}/worker@sha256:{digest('worker')}"


def test_an_image_of_one_architecture_gets_no_name(bench: Bench) -> None:
    bench.run("attest", IMAGE="worker", DIGEST="sha256:aaa")
    assert bench.run("publish", IMAGE="worker", TAG="v1.0.0").returncode
    assert not [call for call in bench.calls if call.startswith("docker")]


@pytest.fixture
def overlay(bench: Bench) -> Bench:
    """A bench with an overlay `here` of two services."""
    if kubectl() is None:
        pytest.skip("kubectl is not installed")
    folder = bench.folder / "k8s" / "overlays" / "here"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (folder / "all.yaml").write_text(
        "---".join(DEPLOYMENT.replace("NAME", n) for n in ("ingress", "scheduler"))
    )
    return bench


def test_a_version_is_deployed_by_digest_after_its_signatures_were_checked(overlay: Bench) -> None:
    ended = overlay.run("deploy", OVERLAY="here", VERSION="v1.0.0", SIGNER="https://example/images.yml")
    assert ended.returncode == 0, ended.stderr
    for deployment in yaml.safe_load_all(overlay.applied.read_text()):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{REGISTRY}/{container['name']}@sha256:{digest(container['name'])}"
        assert container["env"][0]["value"] == f"{REGISTRY}/worker@sha256:{digest('worker')}"
    verified = [call for call in overlay.calls if call.startswith("cosign verify")]
    assert len(verified) == 5
    assert all("^https://example/images.yml@refs/(heads/main|tags/v.*)$" in call for call in verified)


def test_an_image_that_nobody_signed_is_not_deployed(overlay: Bench) -> None:
    settings = {
        "OVERLAY": "here",
        "VERSION": "v1.0.0",
        "SIGNER": "https://example",
        "UNSIGNED": "/scheduler@",
    }
    assert overlay.run("deploy", **settings).returncode
    assert not overlay.applied.exists()


def test_an_overlay_that_names_an_image_otherwise_is_not_deployed(overlay: Bench) -> None:
    all_of_it = overlay.folder / "k8s" / "overlays" / "here" / "all.yaml"
    all_of_it.write_text(all_of_it.read_text().replace("threadmill/ingress", "threadmill/entrance"))
    ended = overlay.run("deploy", OVERLAY="here", VERSION="v1.0.0", SIGNER="https://example")
    assert ended.returncode
    assert "threadmill/entrance" in ended.stderr
    assert not overlay.applied.exists()


def test_an_overlay_that_there_is_not_is_said(bench: Bench) -> None:
    ended = bench.run("deploy", OVERLAY="nowhere", VERSION="v1", SIGNER="https://example")
    assert "there is no k8s/overlays/nowhere" in ended.stderr
