"""The evaluator of NetworkPolicies, on small ones: each of its rules lets something through and keeps something out."""

from typing import Any

import pytest

from tests.kubernetes.policies import Place, reaches, selects

A, B = Place("one", {"app": "a"}, "10.0.0.1"), Place("one", {"app": "b"}, "10.0.0.2", {"web": 80})
C = Place("two", {"app": "b"}, "10.0.0.3", about={"kind": "other"})
OUT = "203.0.113.7"


def policy(selector: dict[str, Any] | None = None, namespace: str = "one", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "it", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": selector or {}}, **spec},
    }


DENY = policy(policyTypes=["Ingress", "Egress"])
DENY_IN = policy(policyTypes=["Ingress"])
TO_B = policy(
    {"app": "a"},
    policyTypes=["Egress"],
    egress=[{"to": [{"podSelector": {"matchLabels": {"app": "b"}}}], "ports": [{"port": 80}]}],
)
FROM_A = policy(
    {"app": "b"},
    policyTypes=["Ingress"],
    ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}], "ports": [{"port": "web"}]}],
)


def to(peer: dict[str, Any] | None = None, **port: Any) -> dict[str, Any]:
    rule = {"to": [peer] if peer else [], "ports": [port] if port else []}
    return policy({"app": "a"}, policyTypes=["Egress"], egress=[rule])


WORLD = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}}


@pytest.mark.parametrize(
    ("policies", "source", "target", "port", "expected"),
    [
        ([], A, B, 80, True),
        ([], OUT, B, 80, True),
        ([DENY], A, B, 80, False),
        ([DENY], A, OUT, 80, False),
        ([DENY], OUT, B, 80, False),
        # Another namespace's policies bind nobody here.
        ([policy(namespace="two", policyTypes=["Ingress", "Egress"])], A, B, 80, True),
        # Both sides have to let it through.
        ([DENY, TO_B], A, B, 80, False),
        ([DENY, FROM_A], A, B, 80, False),
        ([DENY, TO_B, FROM_A], A, B, 80, True),
        ([DENY, TO_B, FROM_A], A, B, 81, False),
        ([DENY, TO_B, FROM_A], B, A, 80, False),
        # A pod selector alone means the policy's own namespace.
        ([TO_B], A, C, 80, False),
        ([to({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "b"}}})], A, C, 80, True),
        ([to({"namespaceSelector": {"matchLabels": {"kind": "other"}}})], A, C, 80, True),
        ([to({"namespaceSelector": {"matchLabels": {"kind": "other"}}})], A, B, 80, False),
        ([to({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "two"}}})], A, C, 80, True),
        # Both selectors of one peer have to hold.
        ([to({"namespaceSelector": {"matchLabels": {"kind": "other"}}, "podSelector": {"matchLabels": {"app": "a"}}})], A, C, 80, False),
        # No peers are all peers, no ports all ports.
        ([to()], A, OUT, 9, True),
        ([to(port=443)], A, OUT, 443, True),
        ([to(port=443)], A, OUT, 80, False),
        ([to(port=400, endPort=500)], A, OUT, 443, True),
        ([to(port=400, endPort=500)], A, OUT, 501, False),
        ([to(protocol="UDP", port=53)], A, OUT, 53, False),
        # A name is the target's to explain.
        ([to(port="web")], A, B, 80, True),
        ([to(port="web")], A, C, 80, False),
        ([to(port="web")], A, OUT, 80, False),
        ([to(WORLD)], A, OUT, 443, True),
        ([to(WORLD)], A, "10.1.2.3", 443, False),
        ([to(WORLD)], A, "169.254.169.254", 80, False),
        ([to(WORLD)], A, "2001:db8::1", 443, False),
        ([to(WORLD)], A, B, 80, False),
        ([to({"ipBlock": {"cidr": "10.0.0.2/32"}})], A, B, 80, True),
        # What binds is told by policyTypes, or by what rules there are.
        ([DENY_IN], A, OUT, 80, True),
        ([DENY_IN], OUT, A, 80, False),
        ([policy(egress=[{"ports": [{"port": 80}]}])], A, OUT, 81, False),
        ([policy()], A, OUT, 80, True),
        ([policy()], OUT, A, 80, False),
        # More policies let through more.
        ([DENY, to(port=443), to(port=80)], A, OUT, 80, True),
    ],
)  # fmt: skip
def test_what_goes_through(policies: Any, source: Any, target: Any, port: int, expected: bool) -> None:
    assert reaches(policies, source, target, port) is expected


def test_protocols_are_told_apart() -> None:
    rule = [to(protocol="UDP", port=53)]
    assert reaches(rule, A, OUT, 53, "UDP")
    assert not reaches(rule, A, OUT, 53)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_selectors(selector: Any, expected: bool) -> None:
    assert selects(selector, {"a": "1"}) is expected
