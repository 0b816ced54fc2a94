"""docs/kubernetes.md: the overlays that it tells a team to write render and hold what it says, and what it names is there."""

import re
import shutil
from pathlib import Path

import msgspec
import pytest
import yaml

from services.cli.slack import build_manifest
from services.scheduler.jobs import job, pools
from services.scheduler.jobs.pools import Pool, Pools, Resources
from tests.docs import commands
from tests.docs.conftest import ROOT
from tests.docs.kubernetes_page import (
    ACME,
    BLOCKS,
    PAGE,
    PROSE,
    RESTORE,
    SHELL,
    TEXT,
    coded,
    given,
    rows,
    tree,
)
from tests.kubernetes import checks_settings, limits
from tests.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    SERVICES,
    VERSION,
    WORKERS,
    Object,
    named,
    needs_kubectl,
    of_kind,
    parsed,
    pools_of,
    rendered,
    title,
    with_worker,
)
from tests.kubernetes.test_manifests import CHECKS, invalid
from tests.kubernetes.test_manifests_limits import most_workers

STORE = "ClusterSecretStore"


@pytest.fixture(scope="module")
def overlays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("page"))


@pytest.fixture
def acme(overlays: Path) -> list[Object]:
    return parsed(rendered(overlays / ACME))


@needs_kubectl
def test_the_teams_overlay_is_valid_and_keeps_every_rule(acme: list[Object], tmp_path: Path) -> None:
    (store,) = of_kind(acme, STORE)
    found = [each for each in with_worker(acme, tmp_path) if each is not store]
    assert invalid(found) == []
    assert {name: check(found) for name, check in CHECKS.items()} == {name: [] for name in CHECKS}
    asked = {each["spec"]["secretStoreRef"]["name"] for each in of_kind(acme, "ExternalSecret")}
    assert asked == {store["metadata"]["name"]}
    assert set(store["spec"]["conditions"][0]["namespaces"]) == {SERVICES, WORKERS}
    assert store["apiVersion"] == of_kind(acme, "ExternalSecret")[0]["apiVersion"]


@needs_kubectl
def test_the_teams_overlay_says_what_is_theirs(acme: list[Object], tmp_path: Path) -> None:
    text = yaml.safe_dump_all(acme)
    assert "example.com" not in text
    assert "example-threadmill" not in text
    ours = set(re.findall(r"[\w.:/-]*threadmill/[\w-]+:[\w.]+", text))
    registry = "europe-west1-docker.pkg.dev/acme-agents/threadmill"
    assert ours == {f"{registry}/{kind}:{VERSION}" for kind in ("ingress", "scheduler", "archiver", "worker")}
    (pool,) = pools_of(acme, tmp_path).pools.values()
    assert pool.image == f"{registry}/worker:{VERSION}"


@needs_kubectl
def test_as_many_workers_fit_as_the_one_number_says(acme: list[Object], tmp_path: Path) -> None:
    quota = named(acme, "ResourceQuota", "workers", WORKERS)
    most = named(acme, "LimitRange", "workers", WORKERS)
    (made,) = of_kind(with_worker(acme, tmp_path), "Job")
    one = limits.usage(most, made["spec"]["template"]["spec"])
    assert limits.refused(most, made["spec"]["template"]["spec"]) == []
    assert limits.fit(quota, one) == most_workers(acme)
    for name, hard in quota["spec"]["hard"].items():
        assert limits.amount(hard) == most_workers(acme) * one[name], name
    told = [name for row in rows("Your overlay") for name in coded(row[0])]
    assert set(told) - {"resources", "THREADMILL_SCHEDULER_MAX_WORKERS"} == set(quota["spec"]["hard"])


@needs_kubectl
def test_with_socket_mode_nothing_listens_to_the_world(overlays: Path) -> None:
    folder = overlays / "acme-socket-mode"
    shutil.copytree(overlays / ACME, folder, dirs_exist_ok=True)
    theirs = yaml.safe_load((folder / "kustomization.yaml").read_text())
    # The page says that the patch of the route's host goes.
    kept = [each for each in theirs["patches"] if each.get("target", {}).get("kind") != "HTTPRoute"]
    patches = [*kept, *yaml.safe_load(given("yaml patches"))]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(theirs | {"patches": patches}))
    found = parsed(rendered(folder))
    assert not of_kind(found, "Gateway", "HTTPRoute", "HealthCheckPolicy", "Ingress")
    assert {title(each) for each in of_kind(found, "NetworkPolicy")}.isdisjoint(
        {"NetworkPolicy threadmill/slack-http"}
    )
    slack = named(found, "ExternalSecret", "slack")["spec"]["data"]
    assert [each["secretKey"] for each in slack] == ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"]


@needs_kubectl
def test_the_overlay_for_a_restore_holds_the_services_back_and_nothing_else(
    overlays: Path, acme: list[Object]
) -> None:
    held = parsed(rendered(overlays / RESTORE))
    for each in of_kind(held, "Deployment"):
        assert each["spec"].pop("replicas") == 0, title(each)
    for each in of_kind(acme, "Deployment"):
        each["spec"].pop("replicas", None)
    assert held == acme


def test_secrets_have_the_names_that_manifests_ask_for() -> None:
    text = (K8S / "components" / "external-secrets" / "secrets.yaml").read_text()
    asked = set(re.findall(r"remoteRef: \{key: ([\w-]+)\}", text))
    created = commands.of("gcloud", SHELL)
    made = {words[3] for words in created if words[1:3] == ["secrets", "create"]}
    assert made == asked | {"threadmill-keys"}
    (names,) = re.findall(r"^for name in (broker-conf .*?); do$", TEXT, re.MULTILINE | re.DOTALL)
    assert {f"threadmill-{name}" for name in names.replace("\\\n", " ").split()} == asked
    again = {words[4] for words in created if words[1:4] == ["secrets", "versions", "add"]}
    assert again <= made


def test_on_kind_every_secret_is_made_with_its_keys() -> None:
    made: dict[tuple[str, str], set[str]] = {}
    for words in commands.of("kubectl", SHELL):
        if words[3:6] == ["create", "secret", "generic"]:
            files = [word.rpartition("/")[2] for word in words if word.startswith("--from-file=")]
            made[words[2], words[6]] = set(files) or {"ENV"}
    assert {secret: keys for secret, keys in made.items() if keys != {"ENV"}} == {
        secret: keys
        for secret, keys in checks_settings.SECRETS.items()
        if secret[1] not in {"slack", "agent"}
    }
    assert set(made) == set(checks_settings.SECRETS)


def test_every_overlay_and_component_is_explained() -> None:
    told = [coded(row[0])[0] for row in rows("What runs where") if coded(row[0])]
    components = {path.name for path in (K8S / "components").iterdir()}
    parts = {"ingress", "scheduler", "archiver", "nats", "worker"}
    assert set(told) == {*OVERLAYS, *components, *parts}


def test_every_field_of_a_pool_is_explained() -> None:
    told = [name for row in rows("Pools") for name in coded(row[0])]
    fields = {field.name for kind in (Pools, Pool) for field in msgspec.structs.fields(kind)}
    assert set(told) == fields
    (resources,) = (row for row in rows("Pools") if coded(row[0]) == ["resources"])
    assert set(coded(resources[1])) == {field.name for field in msgspec.structs.fields(Resources)}
    assert f"| how long a worker may live, {Pool().life_seconds // 3600} hours" in TEXT
    assert f"when it is told to go, {Pool().grace_seconds} s" in TEXT


def test_what_a_thread_says_is_said_by_the_code() -> None:
    code = "\n".join(
        path.read_text()
        for part in ("scheduler", "worker")
        for path in (ROOT / "services" / part).rglob("*.py")
    ).replace("{tries}", "3 tries")
    for said in [coded(row[0])[0] for row in rows("What a thread says")[1:]]:
        for part in said.split(" ... "):
            assert part in code, said
    for word in (
        "workers do not come",
        "No worker came in time: ",
        "The worker was lost: ",
        "is starting a worker: ",
    ):
        assert word.strip() in TEXT, word
        assert word in code, word


@needs_kubectl
def test_scaling_is_as_the_page_says(acme: list[Object]) -> None:
    runs = {coded(row[0])[0]: row[2] for row in rows("What runs where") if len(row) == 5 and coded(row[0])}
    for name in ("ingress", "archiver"):
        spec = named(acme, "HorizontalPodAutoscaler", name)["spec"]
        assert runs[name] == f"{spec['minReplicas']} to {spec['maxReplicas']}"
        assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    assert runs["scheduler"] == str(named(acme, "Deployment", "scheduler")["spec"]["replicas"])
    assert named(acme, "StatefulSet", "nats")["spec"]["replicas"] == 3


def test_what_marks_a_worker_is_as_the_page_says() -> None:
    for mark in (job.POOL_LABEL, job.TEMPLATE_LABEL, job.UID_LABEL, f'{job.SAFE_TO_EVICT}: "true"'):
        assert mark in TEXT, mark
    assert job.SESSION_ANNOTATION.replace(".", r"\.") in TEXT
    assert set(pools.Pool.__annotations__["spot"].__args__) - {""} == set(job.SPOT)
    assert all(f"`{cloud}`" in TEXT for cloud in job.SPOT)
    assert job.KEPT_SECONDS == 600  # "ten minutes"


def test_slack_is_told_of_the_doors_that_there_are() -> None:
    served = (ROOT / "services" / "ingress" / "http.py").read_text()
    told = set(re.findall(r"https://HOST(/[\w/]+)", TEXT))
    assert told == set(re.findall(r'web\.post\("(/slack/\w+)"', served))
    assert build_manifest("x")["settings"]["socket_mode_enabled"]


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-")
        for h in re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings
    other = (ROOT / "docs" / "operations.md").read_text()
    for anchor in re.findall(r"\]\(operations\.md#([^)]+)\)", TEXT):
        assert re.search(rf"^## {anchor.replace('-', ' ')}$", other, re.MULTILINE | re.IGNORECASE), anchor


def test_the_page_is_found() -> None:
    assert f"(docs/{PAGE.name})" in (ROOT / "README.md").read_text()
    assert f"({PAGE.name})" in (ROOT / "docs" / "operations.md").read_text()


def test_every_block_of_the_page_is_checked() -> None:
    known = {"", "sh", "sh look", "json lifecycle.json", "yaml patches", "yaml pull"}
    assert {block.info for block in BLOCKS if not block.info.startswith("yaml k8s/overlays/acme")} == known
