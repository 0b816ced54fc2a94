"""docs/kubernetes.md: what it says about deploying from GitHub is what the workflows ask for."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from services.scheduler.jobs.job import job_of
from tests.docs.commands import commands, of
from tests.docs.conftest import ROOT
from tests.docs.kubernetes_page import ACME, SHELL, TEXT, coded, given, rows, tree
from tests.kubernetes.manifests import SERVICES, named, needs_kubectl, of_kind, parsed, pools_of, rendered

WORKFLOWS = ROOT / ".github" / "workflows"
HEADING = "Deploying from GitHub"
TABLE = {name: row[1] for row in rows(HEADING) for name in coded(row[0])}
(PART,) = re.findall(rf"^## {HEADING}\n(.*?)(?=^## )", TEXT, re.MULTILINE | re.DOTALL)


def test_every_variable_that_a_roll_out_reads_is_explained() -> None:
    read = set(re.findall(r"vars\.([A-Z_]+)", (WORKFLOWS / "roll-out.yml").read_text()))
    assert set(TABLE) == read


def test_its_environments_are_those_of_the_workflow() -> None:
    deploy = yaml.safe_load((WORKFLOWS / "deploy.yml").read_text())["jobs"]
    for name in (job["with"]["environment"] for job in deploy.values() if "with" in job):
        assert f"`{name}`" in PART


def test_a_run_of_one_environment_of_one_repository_is_the_deployer() -> None:
    (provider,) = (words for words in of("gcloud", SHELL) if "create-oidc" in words)
    assert "--attribute-condition=assertion.repository=='x'" in provider
    assert any(word.endswith("attribute.environment=assertion.environment") for word in provider)
    (bound,) = (words for words in of("gcloud", SHELL) if "--role=roles/iam.workloadIdentityUser" in words)
    assert "--member=x/attribute.environment/x" in bound


def test_the_deployer_has_no_more_of_the_project_than_to_find_its_cluster() -> None:
    whole = [words for words in of("gcloud", SHELL) if words[1:3] == ["projects", "add-iam-policy-binding"]]
    assert [words[-1] for words in whole] == ["--role=roles/container.clusterViewer"]


@needs_kubectl
def test_with_a_pull_secret_every_image_of_ours_is_pulled_with_it(tmp_path: Path) -> None:
    folder = tree(tmp_path) / "acme-private"
    shutil.copytree(folder.parent / ACME, folder)
    theirs = yaml.safe_load((folder / "kustomization.yaml").read_text())
    theirs["patches"] += yaml.safe_load(given("yaml pull"))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(theirs))
    pools = yaml.safe_load((folder / "pools.yaml").read_text())
    pools["pools"]["default"] |= {"pull_secret": "ghcr"}
    (folder / "pools.yaml").write_text(yaml.safe_dump(pools))
    found = parsed(rendered(folder))
    for each in of_kind(found, "Deployment"):
        account = each["spec"]["template"]["spec"]["serviceAccountName"]
        assert named(found, "ServiceAccount", account, SERVICES)["imagePullSecrets"] == [{"name": "ghcr"}]
    pod = job_of("w", "default", pools_of(found, tmp_path))["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "ghcr"}]
    made = {
        words[2]
        for words in of("kubectl", SHELL)
        if words[3:7] == ["create", "secret", "docker-registry", "ghcr"]
    }
    assert made == {SERVICES, "threadmill-workers"}


@pytest.mark.parametrize("start", ["From an empty kind cluster", "From an empty GKE project"])
def test_who_follows_a_list_from_its_start_has_threadmill(start: str) -> None:
    (part,) = re.findall(rf"^## {start}.*?(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))
    before, _, _ = blocks.partition("threadmill credentials")
    assert ["make", "sync"] in list(commands(before))
    assert 'export PATH="$PWD/.venv/bin:$PATH"' in before
