"""Whether a node has room for a Pod, in the scheduler's words. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Object = Mapping[str, Any]
_SUFFIXES = {"m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{letter}i": 1024**power for power, letter in enumerate("KMGT", 1)
}
KEEPS_OUT = ("NoSchedule", "NoExecute")


def amount(quantity: str) -> Decimal:
    """Return what a quantity such as `500m` or `2Gi` is."""
    suffix = next((each for each in sorted(_SUFFIXES, key=len, reverse=True) if quantity.endswith(each)), "")
    return Decimal(quantity.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1)


def requests_of(pod: Object) -> Counter[str]:
    """Return what a Pod asks of a node, itself included."""
    asked: Counter[str] = Counter(pods=1)
    for container in pod["spec"]["containers"]:
        for name, quantity in ((container.get("resources") or {}).get("requests") or {}).items():
            asked[name] += amount(quantity)  # type: ignore[assignment] (a Decimal counts as well)
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
    taken: Counter[str] = Counter()
    for other in there:
        taken += requests_of(other)
    for name, wanted in requests_of(pod).items():
        if taken[name] + wanted > amount(node["status"]["allocatable"].get(name, "0")):
            return "Too many pods" if name == "pods" else f"Insufficient {name}"
    return ""


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a Pod with `toleration` bears `taint`."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")


def verdict(obstacles: Iterable[str]) -> str:
    """Return what the scheduler says of a Pod for which no node has room."""
    counted = Counter(obstacles)
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items()))
    return f"0/{counted.total()} nodes are available: {reasons or 'there are none'}."
