"""k8s/: every overlay renders, holds nothing that the API would refuse or ignore, and keeps the rules; each rule can fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.kubernetes import assets, checks_rights, checks_settings, checks_wiring
from tests.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    WORKERS,
    Object,
    named,
    needs_kubectl,
    objects,
    of_kind,
    rendered,
    title,
    with_worker,
)

pytestmark = needs_kubectl

Check = Callable[[list[Object]], list[str]]
CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        checks_wiring.selectors,
        checks_wiring.spreading,
        checks_wiring.targets,
        checks_wiring.budgets,
        checks_wiring.listening,
        checks_wiring.references,
        checks_rights.hardened,
        checks_rights.rights,
        checks_rights.secrets,
        checks_settings.images,
        checks_settings.commands,
        checks_settings.settings,
        checks_settings.probes,
        checks_settings.files,
        checks_settings.known_secrets,
        checks_settings.patience,
    )
}
# Kinds that come with an operator or a cloud, so that no schema of Kubernetes has them.
FOREIGN = {
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
    "ExternalSecret": "external-secrets.io/v1",
    "Gateway": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "HealthCheckPolicy": "networking.gke.io/v1",
}
MINOR = ".".join(assets.VERSION.removeprefix("v").split(".")[:2])


def invalid(found: list[Object]) -> list[str]:
    """What the API server would refuse, fields that it does not know included."""
    problems = []
    for each in found:
        if FOREIGN.get(each["kind"]) == each["apiVersion"]:
            continue
        try:
            kubernetes_validate.validate(each, MINOR, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.InvalidSchemaError) as e:
            problems.append(f"{title(each)}: {e}")
    return problems


@pytest.fixture
def found(overlay: str, tmp_path: Path) -> list[Object]:
    return with_worker(objects(overlay), tmp_path)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(found: list[Object]) -> None:
    assert invalid(found) == []


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_keeps_the_rules(found: list[Object], check: str) -> None:
    assert CHECKS[check](found) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_has_a_place_and_a_name_of_its_own(found: list[Object]) -> None:
    titles = [title(each) for each in found]
    assert len(titles) == len(set(titles))
    ours = {each["metadata"]["name"] for each in of_kind(found, "Namespace")}
    assert {each["metadata"].get("namespace") for each in found} - {None} == ours == {"threadmill", WORKERS}
    # Labels by which a person finds all of it.
    for each in found:
        if each["kind"] not in {"ConfigMap", "Job"}:
            assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "threadmill", title(each)


@pytest.mark.parametrize("overlay", ["ci", "dev"])
def test_what_runs_anywhere_needs_no_operator(found: list[Object]) -> None:
    assert of_kind(found, *FOREIGN) == []


@pytest.mark.parametrize("component", sorted(path.name for path in (K8S / "components").iterdir()))
def test_every_component_is_rendered_by_an_overlay_or_by_a_test(component: str) -> None:
    used = {
        line.rpartition("/")[2].strip()
        for overlay in OVERLAYS
        for line in (K8S / "overlays" / overlay / "kustomization.yaml").read_text().splitlines()
        if "../components/" in line
    }
    # nats by nats-cluster too; the others in test_manifests_components.py.
    assert component in used | {"external-nats", "slack-http", "scale-on-lag"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_called_latest(overlay: str) -> None:
    assert ":latest" not in rendered(K8S / "overlays" / overlay)


# What a careless hand might write, each on the rendered overlay `ci`: the rule, the change, what the rule then says.
Change = Callable[[list[Object]], Any]


def _spec(found: list[Object], kind: str, name: str, namespace: str = "threadmill") -> Object:
    return named(found, kind, name, namespace)["spec"]


def _pod(found: list[Object], name: str = "ingress") -> Object:
    return _spec(found, "Deployment", name)["template"]["spec"]


def _container(found: list[Object], name: str = "ingress") -> Object:
    return _pod(found, name)["containers"][0]


def _volume(found: list[Object], name: str) -> Object:
    return next(each for each in _pod(found)["volumes"] if each["name"] == name)


def _config(found: list[Object], name: str) -> Object:
    return next(one for one in of_kind(found, "ConfigMap") if one["metadata"]["name"].startswith(name))[
        "data"
    ]


def _secret(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "threadmill"}}


BROKEN: list[tuple[str, Change, str]] = [
    ("invalid", lambda f: _spec(f, "LimitRange", "workers", WORKERS).update(selector={}), "selector"),
    ("invalid", lambda f: _pod(f).update(restartPolicies="Always"), "restartPolicies"),
    ("invalid", lambda f: _spec(f, "Deployment", "archiver").update(replicas="two"), "replicas"),
    ("selectors", lambda f: _spec(f, "Service", "ingress")["selector"].update(app="x"), "no pod has"),
    ("selectors", lambda f: _spec(f, "PodDisruptionBudget", "archiver")["selector"]["matchLabels"].update(a="b"), "no pod"),
    ("selectors", lambda f: _spec(f, "NetworkPolicy", "dns", WORKERS)["podSelector"].update(matchLabels={"app": "worker"}), "no pod"),
    ("selectors", lambda f: _spec(f, "NetworkPolicy", "dns")["podSelector"]["matchExpressions"][0]["values"].append("gateway"), "gateway"),
    ("selectors", lambda f: _spec(f, "NetworkPolicy", "nats")["ingress"][0]["from"][1]["podSelector"].update(matchLabels={"a": "b"}), "no pod"),
    ("spreading", lambda f: _pod(f)["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}), "which it is not"),
    ("targets", lambda f: _spec(f, "HorizontalPodAutoscaler", "archiver")["scaleTargetRef"].update(kind="StatefulSet", name="nats"), "no Deployment"),
    ("targets", lambda f: _container(f, "archiver")["resources"]["requests"].pop("cpu"), "not there"),
    ("budgets", lambda f: _spec(f, "PodDisruptionBudget", "nats").update(maxUnavailable="50%"), "percent"),
    ("budgets", lambda f: _spec(f, "PodDisruptionBudget", "nats").update(maxUnavailable=0), "drained"),
    ("budgets", lambda f: f.remove(named(f, "PodDisruptionBudget", "scheduler")), "no budget"),
    ("budgets", lambda f: _spec(f, "PodDisruptionBudget", "nats")["selector"].update(matchLabels={}), "means nothing"),
    ("listening", lambda f: _container(f)["readinessProbe"]["httpGet"].update(port="web"), "asks port web"),
    ("listening", lambda f: _spec(f, "Service", "nats")["ports"][0].update(targetPort="client"), "does not declare"),
    ("listening", lambda f: _spec(f, "NetworkPolicy", "to-nats", WORKERS)["egress"][0]["ports"][0].update(port=4223), "4223"),
    ("listening", lambda f: _spec(f, "NetworkPolicy", "nats")["ingress"][0]["ports"][0].update(port=4223), "4223"),
    ("references", lambda f: _pod(f).update(serviceAccountName="nobody"), "no ServiceAccount nobody"),
    ("references", lambda f: _container(f)["envFrom"][0]["configMapRef"].update(name="settings"), "no ConfigMap settings"),
    ("hardened", lambda f: _container(f)["securityContext"].update(readOnlyRootFilesystem=False), "readOnlyRoot"),
    ("hardened", lambda f: _pod(f)["securityContext"].update(runAsUser=0), "runAsUser"),
    ("hardened", lambda f: _container(f)["resources"]["limits"].pop("memory"), "limits"),
    ("hardened", lambda f: _pod(f)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volumes"),
    ("hardened", lambda f: named(f, "Namespace", WORKERS, None)["metadata"]["labels"].clear(), "more than restricted"),
    ("rights", lambda f: named(f, "Role", "launcher", WORKERS)["rules"][1]["verbs"].append("create"), "grants"),
    ("rights", lambda f: named(f, "RoleBinding", "launcher", WORKERS)["subjects"][0].update(name="worker"), "binds"),
    ("rights", lambda f: named(f, "ServiceAccount", "archiver").pop("automountServiceAccountToken"), "token"),
    ("rights", lambda f: _pod(f).update(automountServiceAccountToken=True), "token"),
    ("rights", lambda f: _pod(f).update(serviceAccountName="archiver"), "shares"),
    ("rights", lambda f: f.append(_secret("x") | {"kind": "ClusterRole"}), "whole cluster"),
    ("secrets", lambda f: f.append(_secret("slack")), "holds values"),
    ("secrets", lambda f: _container(f)["env"].append({"name": "ANTHROPIC_API_KEY", "value": "abc"}), "its value here"),
    ("secrets", lambda f: _config(f, "ingress").update(SLACK_BOT_TOKEN="abc"), "its value here"),
    ("secrets", lambda f: _config(f, "pools").update({"pools.yaml": "x: sk-ant-abc"}), "looks like a secret"),
    ("images", lambda f: _container(f).update(image="threadmill/ingress:latest"), "no version"),
    ("images", lambda f: _container(f).update(image="threadmill/ingress"), "no version"),
    ("images", lambda f: _container(f).update(image="threadmill/web:0.1.0"), "there is no"),
    ("images", lambda f: _container(f).update(image="threadmill/ingress:0.0.9"), "there is no"),
    ("images", lambda f: _container(f).update(image="threadmill/archiver:0.1.0"), "ingress runs"),
    ("commands", lambda f: _container(f).update(command=["python", "-m", "services.archiver"]), "runs"),
    ("settings", lambda f: _config(f, "ingress").update(THREADMILL_NATS_URI="x"), "THREADMILL_NATS_URI is not a setting"),
    ("settings", lambda f: _config(f, "archiver").pop("THREADMILL_BUCKET"), "needs one place"),
    ("settings", lambda f: _config(f, "scheduler").update(THREADMILL_SCHEDULER_MAX_WORKERS="many"), "MAX_WORKERS"),
    ("settings", lambda f: _pod(f)["containers"][1]["env"][0].update(name="THREADMILL_SIM_TOKEN"), "nobody asks"),
    ("probes", lambda f: _container(f)["ports"][0].update(containerPort=8081), "at health"),
    ("probes", lambda f: _container(f)["livenessProbe"]["httpGet"].update(path="/health"), "asks for /health "),
    ("probes", lambda f: _container(f, "scheduler").pop("readinessProbe"), "is not asked"),
    ("files", lambda f: _config(f, "ingress").update(THREADMILL_NATS_CREDS="/etc/threadmill/nats/it.creds"), "it.creds"),
    ("files", lambda f: _container(f, "scheduler")["volumeMounts"].pop(), "/etc/threadmill/agent"),
    ("known_secrets", lambda f: _volume(f, "nats")["secret"].update(secretName="ingres-nats"), "ingres-nats"),
    ("known_secrets", lambda f: _container(f)["env"][0]["valueFrom"]["secretKeyRef"].update(key="TOKEN"), "TOKEN"),
    ("patience", lambda f: _pod(f, "scheduler").update(terminationGracePeriodSeconds=15), "killed while it drains"),
    ("patience", lambda f: _container(f, "archiver").update(lifecycle={"preStop": {"sleep": {"seconds": 60}}}), "drains"),
    ("patience", lambda f: _container(f).update(lifecycle={"preStop": {"sleep": {"seconds": 1}}}), "nobody is there"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "change", "words"), BROKEN, ids=[f"{b[0]}-{b[2]}" for b in BROKEN])
def test_a_broken_overlay_is_seen(check: str, change: Change, words: str, tmp_path: Path) -> None:
    found = with_worker(objects("ci"), tmp_path)
    change(found)
    problems = (CHECKS | {"invalid": invalid})[check](found)
    assert any(words in problem for problem in problems), problems


def test_every_rule_is_seen_to_fail() -> None:
    assert {check for check, _, _ in BROKEN} == {*CHECKS, "invalid"}
