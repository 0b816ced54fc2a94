"""What NetworkPolicies let through, by their rules alone: may this pod reach that pod, or that address, on a port?

Pure. A pod is reached when its own policies let it in and the other's let it out; a pod that no policy selects for a
direction is free in it. An `ipBlock` matches pods by their addresses, as a network that looks at packets does.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]
NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Place:
    """A pod, by what policies see of it. `ports` are those with a name, `about` the labels of its namespace."""

    namespace: str
    labels: Mapping[str, str]
    address: str = "10.244.0.2"
    ports: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace_labels(self) -> dict[str, str]:
        """With the label that every namespace has."""
        return {**self.about, NAME_LABEL: self.namespace}


# An address outside of the cluster is told by itself.
Peer = Place | str


def reaches(policies: Iterable[Json], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Tell whether `source` may open a connection to `port` of `target`."""
    known = list(policies)
    return _lets(known, "Egress", source, target, target, port, protocol) and _lets(
        known, "Ingress", target, source, target, port, protocol
    )


def _lets(
    policies: list[Json], way: str, of: Peer, other: Peer, target: Peer, port: int, protocol: str
) -> bool:
    """Tell whether the policies of `of` let `other` through; those of an address outside are nobody's here."""
    if isinstance(of, str):
        return True
    bound = [policy for policy in policies if _binds(policy, way, of)]
    peers, rules = ("to", "egress") if way == "Egress" else ("from", "ingress")
    return not bound or any(
        _names_peer(rule.get(peers), policy, other) and _names_port(rule.get("ports"), target, port, protocol)
        for policy in bound
        for rule in policy["spec"].get(rules) or ()
    )


def _binds(policy: Json, way: str, place: Place) -> bool:
    spec = policy["spec"]
    ways = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        way in ways
        and policy["metadata"]["namespace"] == place.namespace
        and selects(spec.get("podSelector") or {}, place.labels)
    )


def _names_peer(peers: list[Json] | None, policy: Json, other: Peer) -> bool:
    return not peers or any(_is_peer(peer, policy, other) for peer in peers)


def _is_peer(peer: Json, policy: Json, other: Peer) -> bool:
    if block := peer.get("ipBlock"):
        return _within(block, other if isinstance(other, str) else other.address)
    if isinstance(other, str):
        return False
    here = other.namespace == policy["metadata"]["namespace"]
    spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    in_space = here if spaces is None else selects(spaces, other.namespace_labels)
    return in_space and selects(pods or {}, other.labels)


def _within(block: Json, address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip in ipaddress.ip_network(block["cidr"]) and not any(
        ip in ipaddress.ip_network(each) for each in block.get("except") or ()
    )


def _names_port(ports: list[Json] | None, target: Peer, port: int, protocol: str) -> bool:
    return not ports or any(_is_port(each, target, port, protocol) for each in ports)


def _is_port(given: Json, target: Peer, port: int, protocol: str) -> bool:
    if given.get("protocol", "TCP") != protocol:
        return False
    wanted = given.get("port")
    if isinstance(wanted, str):  # a name, which only the target's pod explains
        wanted = None if isinstance(target, str) else target.ports.get(wanted, -1)
        return wanted == port
    return wanted is None or wanted <= port <= given.get("endPort", wanted)


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector of Kubernetes selects `labels`."""
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    answers = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return answers[expression["operator"]]
