"""Whether a node has room for a Pod, in the scheduler's words. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Object = Mapping[str, Any]
_SUFFIXES = {"m": Decimal("0.001")}
_SUFFIXES |= {letter: Decimal(1000**power) for power, letter in enumerate("kMGT", 1)}
_SUFFIXES |= {f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGT", 1)}
KEEPS_OUT = ("NoSchedule", "NoExecute")


def amount(quantity: str) -> Decimal:
    """Return what a quantity such as `500m` or `2Gi` is."""
    suffix = next((each for each in sorted(_SUFFIXES, key=len, reverse=True) if quantity.endswith(each)), "")
    return Decimal(quantity.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))


def requests_of(pods: Iterable[Object]) -> dict[str, Decimal]:
    """Return what `pods` ask of a node, themselves included."""
    asked: dict[str, Decimal] = defaultdict(Decimal)
    for pod in pods:
        asked["pods"] += 1
        for container in pod["spec"]["containers"]:
            for name, quantity in ((container.get("resources") or {}).get("requests") or {}).items():
                asked[name] += amount(quantity)
    return asked


def is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def obstacle(pod: Object, node: Object, there: Iterable[Object]) -> str:
    """Return why `pod` cannot go to `node` beside those that are `there`, empty where it can."""
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    tolerations = spec.get("tolerations") or []
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] in KEEPS_OUT and not any(tolerates(each, taint) for each in tolerations):
            return "node(s) had untolerated taint(s)"
    return _shortage(pod, node, there)


def _shortage(pod: Object, node: Object, there: Iterable[Object]) -> str:
    room, taken = node["status"].get("allocatable") or {}, requests_of(there)
    for name, wanted in requests_of([pod]).items():
        if taken[name] + wanted > amount(room.get(name, "0")):
            return "Too many pods" if name == "pods" else f"Insufficient {name}"
    return ""


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a Pod with `toleration` bears `taint`."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return all(toleration.get(part, "") == taint.get(part, "") for part in ("key", "value"))


def verdict(obstacles: Iterable[str]) -> str:
    """Return what the scheduler says of a Pod for which no node has room."""
    counted = Counter(obstacles)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items()))
    return f"0/{counted.total()} nodes are available: {reasons or 'there are none'}."
