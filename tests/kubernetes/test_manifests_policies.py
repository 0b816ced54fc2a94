"""Who reaches whom in each overlay, by its own NetworkPolicies: a table of what must and what must not be."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.kubernetes.manifests import (
    OVERLAYS,
    Object,
    needs_kubectl,
    objects,
    of_kind,
    ports,
    templates,
    with_worker,
)
from tests.kubernetes.policies import Peer, Place, reaches

pytestmark = needs_kubectl

OUTSIDE: dict[str, Peer] = {
    "model": "160.79.104.10",
    "model6": "2607:6bc0::10",
    "metadata": "169.254.169.254",
    "metadata of eks": "169.254.170.2",
    "metadata of gke": "169.254.169.252",
    "metadata6 of eks": "fd00:ec2::254",
    "metadata6 of gke": "fd20:ce::254",
    "metadata of alibaba": "100.100.100.200",
    "wire server": "168.63.129.16",
    "node": "10.128.0.5",
    "node6": "fd00::5",
    "api server": "10.96.0.1",
    "api server of kind": "172.18.0.2",
    "api server of gke": "172.16.0.2",
    "lan": "192.168.1.1",
    "loopback": "127.0.0.1",
    "carrier": "100.64.0.1",
    "nat64": "64:ff9b::a9fe:a9fe",
    "local dns": "169.254.20.10",
    "front end": "35.191.0.1",
    "dns": Place("kube-system", {"k8s-app": "kube-dns"}, "10.244.0.53"),
    "stranger": Place("default", {"app": "x"}, "10.244.0.99"),
    "prometheus": Place("monitoring", {"app": "prometheus"}, "10.244.0.98"),
    "impostor": Place("default", {"app.kubernetes.io/component": "archiver"}, "10.244.0.97"),
}
ADDRESSES = [name for name in OUTSIDE if name.startswith(("meta", "wire"))]
PRIVATE = ["node", "node6", "lan", "loopback", "carrier", "nat64", "stranger", "local dns"]
PORTS = (22, 80, 443, 988, 4222, 6443, 8080, 8222, 10250)
STRANGERS = ("stranger", "impostor", "prometheus")
API = ["api server", "api server of kind", "api server of gke"]
SERVICES = ("ingress", "scheduler", "archiver")
Row = tuple[str, str, int]


def places(found: list[Object]) -> dict[str, Peer]:
    """Return all that may speak or be spoken to: the pods of `found`, by component, and what is around them."""
    ours = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]: Place(
            owner["metadata"]["namespace"],
            template["metadata"]["labels"],
            f"10.244.1.{number}",
            ports(template),
        )
        for number, (owner, template) in enumerate(templates(found), 1)
    }
    return OUTSIDE | ours | {"another worker": ours["worker"]}


def must(overlay: str) -> Iterator[Row]:
    """Yield what has to work."""
    for one in (*SERVICES, "worker"):
        yield one, "nats", 4222
        yield one, "dns", 53
    for each in API:
        yield "scheduler", each, 443
        yield "scheduler", each, 6443
    if overlay != "ci":
        yield "worker", "model", 443
        yield "worker", "model6", 443
    if overlay == "prod":
        yield from _cloud()
    else:
        yield "archiver", "object-store", 4443
        yield "worker", "repository", 9418


def _cloud() -> Iterator[Row]:
    yield "ingress", "model", 443  # Slack, as good as any public address
    yield "archiver", "model", 443  # GCS, likewise
    yield "archiver", "metadata", 80
    yield "archiver", "metadata of gke", 988
    yield "front end", "ingress", 3000
    yield "front end", "ingress", 8080
    yield "nats", "nats", 6222
    yield "nats", "dns", 53
    for one in SERVICES:
        yield "prometheus", one, 8080
    yield "prometheus", "nats", 7777
    for one in (*SERVICES, "worker", "nats"):
        yield one, "local dns", 53


def must_not(overlay: str) -> Iterator[Row]:
    """Yield what must never work, whatever else an overlay allows."""
    yield from product([*OUTSIDE, *SERVICES, "nats", "another worker"], ["worker"], PORTS)
    yield from product(["worker"], [*ADDRESSES, *API, *PRIVATE], PORTS)
    yield from product(["worker"], [*SERVICES, "nats"], (80, 3000, 4223, 6222, 7777, 8080, 8222))
    yield from product(["worker", "ingress"], ["model"], (22, 80, 8080))
    yield from product(STRANGERS, [*SERVICES, "nats"], (443, 3000, 4222, 6222, 8222))
    yield from product(["stranger", "impostor"], [*SERVICES, "nats"], (7777, 8080))
    yield from product(["model", "lan", "stranger"], ["ingress"], (3000, 8080))
    yield from product(["ingress", "archiver", "nats"], API, (443, 6443))
    yield from product(["scheduler", "nats"], ["model"], (80, 443, 6443))
    yield from product(SERVICES, ["nats"], (6222, 8222))
    yield from (row for row in product(SERVICES, SERVICES, [8080]) if row[0] != row[1])
    yield from _metadata(overlay)
    if overlay != "prod":
        yield from _on_one_machine()
    if overlay == "ci":
        yield "worker", "model", 443


def _metadata(overlay: str) -> Iterator[Row]:
    """Yield what leads to a cloud's tokens, less the archiver's own way there."""
    allowed = set(must(overlay))
    rows = product([*SERVICES, "nats"], ADDRESSES, (80, 443, 988))
    yield from (row for row in rows if row not in allowed)


def _on_one_machine() -> Iterator[Row]:
    # The simulator is in ingress' own pod, the object store and the repository beside it.
    yield from product(["ingress", "archiver"], ["model"], [443])
    yield from product(["front end", "prometheus"], SERVICES, (3000, 8080))
    yield from product(["ingress", "scheduler", "worker", "nats", *STRANGERS], ["object-store"], [4443])
    yield from product([*SERVICES, "nats", "object-store", *STRANGERS], ["repository"], [9418])
    yield from product(["object-store", "repository"], OUTSIDE, (53, 80, 443))


def went_wrong(found: list[Object], rows: Iterator[Row], expected: bool) -> list[Row]:
    policies, place = of_kind(found, "NetworkPolicy"), places(found)
    return [row for row in rows if reaches(policies, place[row[0]], place[row[1]], row[2]) is not expected]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_needed_works(overlay: str, tmp_path: Path) -> None:
    assert went_wrong(with_worker(objects(overlay), tmp_path), must(overlay), expected=True) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_forbidden_does_not(overlay: str, tmp_path: Path) -> None:
    assert went_wrong(with_worker(objects(overlay), tmp_path), must_not(overlay), expected=False) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_asked_for_by_datagrams_too(overlay: str, tmp_path: Path) -> None:
    found = with_worker(objects(overlay), tmp_path)
    place = places(found)
    for one in (*SERVICES, "worker"):
        assert reaches(of_kind(found, "NetworkPolicy"), place[one], place["dns"], 53, "UDP"), one
        assert not reaches(of_kind(found, "NetworkPolicy"), place[one], place["stranger"], 53, "UDP"), one


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("namespace", ["threadmill", "threadmill-workers"])
def test_a_pod_that_nobody_thought_of_reaches_nothing(overlay: str, namespace: str) -> None:
    found = objects(overlay)
    policies, forgotten = of_kind(found, "NetworkPolicy"), Place(namespace, {"app": "forgotten"})
    for name, other in OUTSIDE.items():
        for port in (53, 80, 443, 4222):
            assert not reaches(policies, forgotten, other, port), name
            assert not reaches(policies, other, forgotten, port), name


# Each is a policy that somebody might add or lose, and what the tables then say.
OPEN = {"metadata": {"name": "open", "namespace": "threadmill-workers"}}
MISTAKES = {
    "workers may reach everything": (OPEN | {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}}, "worker", "metadata"),
    "workers may reach any address": (
        OPEN | {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}},
        "worker",
        "api server",
    ),
    "workers may reach IPv6": (
        OPEN | {"spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "::/0"}}]}]}},
        "worker",
        "metadata6 of eks",
    ),
    "workers may be reached": (OPEN | {"spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}}, "stranger", "worker"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(mistake: str, tmp_path: Path) -> None:
    policy, source, target = MISTAKES[mistake]
    found = [*with_worker(objects("ci"), tmp_path), {"kind": "NetworkPolicy", **policy}]
    wrong = went_wrong(found, must_not("ci"), expected=False)
    assert (source, target) in {row[:2] for row in wrong}


@pytest.mark.parametrize("lost", ["default-deny", "nats", "to-nats", "dns", "scheduler-to-api-server"])
def test_a_policy_that_is_lost_is_missed(lost: str, tmp_path: Path) -> None:
    found = [
        each
        for each in with_worker(objects("ci"), tmp_path)
        if (each["kind"], each["metadata"]["name"]) != ("NetworkPolicy", lost)
    ]
    assert went_wrong(found, must("ci"), expected=True) or went_wrong(found, must_not("ci"), expected=False)
