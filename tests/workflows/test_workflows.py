"""The workflows: safe, well formed, pinned, with no more rights than they need, and no step that a person cannot run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
BIN = Path(sys.executable).parent
# What a workflow may write, and which.
WRITES = {
    ("images.yml", "packages"),
    ("images.yml", "id-token"),
    ("deploy.yml", "id-token"),
    ("roll-out.yml", "id-token"),
}

# What `make` has to build before a target whose tests skip nothing in CI.
NEEDED = {"manifests": {"kube-assets"}, "test": {"kube-assets", "nats-cli"}}


def ids(path: Path) -> str:
    return path.name


def jobs(path: Path) -> dict[str, dict]:
    return yaml.safe_load(path.read_text())["jobs"]


def steps(path: Path) -> list[dict]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text() + (ROOT / "delivery" / "targets.mk").read_text()
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


def called(text: str) -> set[str]:
    """Return the targets that a script or a workflow runs."""
    return set(re.findall(r"^ *(?:- run: )?make ([a-z-]+)", text, re.MULTILINE))


def actionlint() -> str:
    """Return the program; the first time it is built from its module where Go is at hand."""
    cached = ROOT / ".cache" / "bin" / "actionlint"
    found = shutil.which("actionlint") or shutil.which(cached)
    if found is None:
        if shutil.which("go") is None:
            pytest.skip("neither actionlint nor Go, which would build it, is installed")
        environment = os.environ | {"GOBIN": str(cached.parent)}
        subprocess.run(
            ["go", "install", ACTIONLINT], env=environment, check=True, capture_output=True, timeout=300
        )
    return found or str(cached)


def linted(*command: str | Path) -> None:
    ended = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_zizmor_finds_nothing() -> None:
    linted(BIN / "zizmor", "--offline", "--pedantic", "--strict-collection", "--no-progress", ".")


@pytest.mark.timeout(320)
def test_actionlint_finds_nothing() -> None:
    linted(actionlint(), "-no-color", "-shellcheck=", *WORKFLOWS)


def test_there_is_a_workflow_for_each_thing() -> None:
    assert {"test.yml", "manifests.yml", "images.yml", "deploy.yml"} <= {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    for line in re.findall(r"^\s*(?:- )?uses: (.+)$", path.read_text(), re.MULTILINE):
        assert line.startswith("./.github/") or re.fullmatch(
            r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line
        ), line


def test_an_action_has_one_version() -> None:
    used = {use for path in WORKFLOWS for use in re.findall(r"uses: ([^.\s]\S+)", path.read_text())}
    names = [use.split("@")[0] for use in used]
    assert len(names) == len(set(names)), sorted(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_every_command_is_one_that_a_person_can_run_as_well(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            words = re.fullmatch(r'make ([a-z-]+)(?: [A-Z]+=(?:"[^"$]*"|[\w-]+))*', step["run"])
            assert words, f"not a Makefile target: {step['run']}"
            assert words[1] in targets()


def test_the_workflow_of_tests_does_what_a_person_does_with_one_command() -> None:
    # The images are built and run by their own workflow.
    assert called((ROOT / ".ci" / "run").read_text()) - {"images-smoke"} == called(
        (FOLDER / "test.yml").read_text()
    )


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_what_tests_ask_for_is_built_before_them(path: Path) -> None:
    for name, job in jobs(path).items():
        run = [step["run"].removeprefix("make ") for step in job.get("steps", []) if "run" in step]
        for target, asked in NEEDED.items():
            if target in run:
                assert asked <= set(run[: run.index(target)]), f"{name} runs {target} without {asked}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_what_a_cache_is_named_after_is_there(path: Path) -> None:
    for given in re.findall(r"hashFiles\((.*?)\)", path.read_text()):
        for pattern in re.findall(r"'([^']+)'", given):
            assert list(ROOT.glob(pattern)), f"{pattern} matches nothing: what it holds may change unseen"


def test_what_is_built_for_the_tests_is_found_by_them() -> None:
    ended = subprocess.run(
        ["make", "--no-print-directory", "--file=Makefile", "--file=-", "where"],
        cwd=ROOT,
        input='where:\n\t@echo "$$PATH"\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.startswith(f"{ROOT / '.cache' / 'bin'}:")


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_rights_are_given_to_jobs_and_are_few(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs(path).items():
        writes = {(path.name, right) for right, level in job["permissions"].items() if level == "write"}
        assert writes <= WRITES, f"{name} may write more than it should"


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_no_checkout_leaves_its_token_behind(path: Path) -> None:
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_there_is_no_secret_and_no_key(path: Path) -> None:
    assert "secrets." not in path.read_text()
    assert "credentials_json" not in path.read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=ids)
def test_every_job_ends_in_time(path: Path) -> None:
    for name, job in jobs(path).items():
        assert "uses" in job or job["timeout-minutes"] <= 60, name


def test_what_a_pull_request_brings_cannot_publish() -> None:
    for name, job in jobs(FOLDER / "images.yml").items():
        if "write" in job["permissions"].values():
            stopped = "github.event_name != 'pull_request'" in job.get("if", "")
            assert stopped or job["needs"] == "build", name


def test_every_image_is_published() -> None:
    from tests.images.engine import IMAGES  # noqa: PLC0415 (the one list of them)

    for name in ("build", "publish"):
        assert jobs(FOLDER / "images.yml")[name]["strategy"]["matrix"]["image"] == list(IMAGES)


def test_production_follows_staging_with_the_same_version() -> None:
    deploy = jobs(FOLDER / "deploy.yml")
    assert deploy["production"]["needs"] == "staging"
    assert deploy["production"]["with"]["version"] == deploy["staging"]["with"]["version"]


def test_a_release_is_deployed_once_its_images_are_there() -> None:
    deploy = jobs(FOLDER / "deploy.yml")
    assert deploy["staging"]["needs"] == "images"
    assert deploy["images"]["steps"][-1] == {"run": "make images-await"}
    assert deploy["images"]["env"]["VERSION"] == deploy["staging"]["with"]["version"]


def test_a_version_that_awaits_its_approval_holds_up_its_environment_alone() -> None:
    rolled, whole = (yaml.safe_load((FOLDER / name).read_text()) for name in ("roll-out.yml", "deploy.yml"))
    assert "inputs.environment" in rolled["concurrency"]["group"]
    assert "inputs.version" in whole["concurrency"]["group"]
    assert not rolled["concurrency"]["cancel-in-progress"]
