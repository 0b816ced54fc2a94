"""docs/kubernetes.md: its commands, each read by the program that would run it, and those that only look run on a real API server."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from services.local.keys import made
from services.scheduler.jobs.job import SESSION_ANNOTATION, UID_LABEL, job_of
from tests.docs.commands import commands, of
from tests.docs.conftest import Block
from tests.docs.kubernetes_page import ACME, BLOCKS, SHELL, tree
from tests.kubernetes import assets
from tests.kubernetes.conftest import require_assets
from tests.kubernetes.control_plane import ControlPlane, control_plane
from tests.kubernetes.manifests import (
    K8S,
    WORKERS,
    needs_kubectl,
    objects,
    parsed,
    pools_of,
    rendered,
)

pytestmark = pytest.mark.xdist_group("docs-kubernetes")

NOBODY = "http://127.0.0.1:1"
PROGRAMS = {
    "curl",
    "docker",
    "export",
    "for",
    "gcloud",
    "helm",
    "kind",
    "kubectl",
    "make",
    "nats",
    "tar",
    "threadmill",
}
OF_THE_SHELL = {"for", "do", "done", "printf", "mkdir"}
SESSION = "T1.C1.1700000000-000100"
# What a block that looks must show, by its first line: with nodes it shows more.
SHOWN = {
    "kubectl -n threadmill get pods -o wide": ("nats-0", "default", SESSION),
    "export SESSION": ("threadmill-worker-",),
    "export JOB": ("threadmill-worker-", "threadmill.dev/pool=default"),
    "kubectl -n threadmill-workers get events": ("SuccessfulCreate", "requests.memory", "jobs.batch"),
}


@pytest.mark.parametrize("text", SHELL, ids=lambda text: text.splitlines()[0][:40])
def test_a_shell_reads_a_block(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {words[0] for words in commands(text)} <= PROGRAMS | OF_THE_SHELL | {"agent.env", "slack.env"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the commands name."""
    folder = tmp_path_factory.mktemp("place")
    tree(folder)
    made(folder / "keys")
    for name in ("slack", "agent"):
        (folder / f"{name}.env").write_text("NAME=value\n")
    return folder


@needs_kubectl
@pytest.mark.parametrize("words", of("kubectl", SHELL), ids=" ".join)
def test_kubectl_understands_a_command(words: list[str], place: Path) -> None:
    config = {
        "clusters": [{"name": "it", "cluster": {"server": NOBODY}}],
        "contexts": [{"name": "it", "context": {"cluster": "it"}}],
    }
    (place / "nobody.json").write_text(json.dumps({"current-context": "it"} | config))
    done = subprocess.run(
        [assets.folder() / "kubectl", *words[1:]],
        cwd=place,
        env={"KUBECONFIG": str(place / "nobody.json"), "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # It asked, and nobody was there: all that could be wrong with the command itself comes before.
    assert re.search(r"was refused|connection refused", done.stderr), done.stderr
    assert done.returncode, done.stdout


@needs_kubectl
def test_what_commands_name_is_there(place: Path) -> None:
    found = parsed(rendered(place / "k8s" / "overlays" / ACME))
    there = {
        (each["metadata"].get("namespace"), each["kind"].lower(), each["metadata"]["name"]) for each in found
    }
    for words in of("kubectl", SHELL):
        namespace = words[2] if words[1] == "-n" else None
        line = " ".join(words)
        asked = re.findall(r"\b(deployment|statefulset|service|resourcequota)[ /]([\w-]+)", line)
        asked += [
            ("deployment", name)
            for name in re.findall(r"\b(?:ingress|scheduler|archiver)\b(?= .*--replicas)", line)
        ]
        for kind, name in asked:
            assert (namespace, kind, name) in there, line
        if namespace:
            assert (None, "namespace", namespace) in there, line
        for overlay in re.findall(r" -k (\S+)", line):
            assert (place / overlay / "kustomization.yaml").is_file(), line


def _plain(words: list[str]) -> str:
    # What is to be printed is not its business, and its quotes are not a shell's.
    return " ".join(re.sub(r"(--format=\w+)\(.*\)", r"\1", word) for word in words)


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_understands_its_commands(tmp_path: Path) -> None:
    asked = of("gcloud", SHELL)
    listed = tmp_path / "commands.json"
    listed.write_text(json.dumps([{"command_string": _plain(words)} for words in asked]))
    done = subprocess.run(
        ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={listed}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = json.loads(done.stdout)
    assert len(told) == len(asked) > 40
    assert [(each["command_string"], each["error_message"]) for each in told if not each["success"]] == []


def test_a_bucket_is_private_to_the_archiver() -> None:
    (created,) = (words for words in of("gcloud", SHELL) if words[1:4] == ["storage", "buckets", "create"])
    assert {"--uniform-bucket-level-access", "--public-access-prevention"} <= set(created)
    bound = [
        words
        for words in of("gcloud", SHELL)
        if words[1:4] == ["storage", "buckets", "add-iam-policy-binding"]
    ]
    assert {words[-1] for words in bound} == {
        "--role=roles/storage.objectUser",
        "--role=roles/storage.legacyBucketReader",
    }
    assert {words[5].partition("/")[2] for words in bound} == {"subject/ns/threadmill/sa/archiver"}
    whole = [words for words in of("gcloud", SHELL) if words[1:3] == ["projects", "add-iam-policy-binding"]]
    assert not [words for words in whole if "storage" in words[-1]]
    (lifecycle,) = (json.loads(block.text) for block in BLOCKS if block.info == "json lifecycle.json")
    assert "Delete" not in {rule["action"]["type"] for rule in lifecycle["rule"]}


async def _with_a_worker(plane: ControlPlane, folder: Path) -> str:
    """Apply what needs no cloud, and have a worker with a session; return its Job's uid."""
    await plane.kubectl("apply", "-k", str(K8S / "overlays" / "ci"))
    job = job_of("threadmill-worker-0123456789abcdef", "default", pools_of(objects("ci"), folder))
    await plane.kubectl("apply", "-f", "-", given=json.dumps(job))
    pods = ("--namespace", WORKERS, "pods", "--selector", "app.kubernetes.io/component=worker")
    await plane.kubectl("wait", *pods, "--for=create", "--timeout=60s")
    await plane.kubectl("annotate", *pods, f"{SESSION_ANNOTATION}={SESSION}")
    await plane.kubectl("wait", "--namespace", "threadmill", "pod/nats-0", "--for=create", "--timeout=60s")
    (pod,) = json.loads(await plane.kubectl("get", *pods, "--output=json"))["items"]
    return str(pod["metadata"]["labels"][UID_LABEL])


async def test_what_only_looks_shows_what_the_page_says(tmp_path: Path) -> None:
    require_assets()
    looks = [block for block in BLOCKS if block.info == "sh look"]
    assert len(looks) == len(SHOWN)
    async with control_plane(tmp_path / "plane") as plane:
        uid = await _with_a_worker(plane, tmp_path)
        for block in looks:
            shown = await asyncio.to_thread(_shown, plane, block, uid)
            (words,) = (words for begin, words in SHOWN.items() if block.text.startswith(begin))
            for word in words:
                assert word in shown, shown


def _shown(plane: ControlPlane, block: Block, uid: str) -> str:
    text = re.sub(r"export JOB=\S+", f"export JOB={uid}", block.text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={
            "PATH": f"{assets.folder()}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.folder / "admin.kubeconfig"),
            "HOME": str(plane.folder),
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
