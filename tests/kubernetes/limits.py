"""How the API server counts: amounts, what a LimitRange adds and refuses, what a quota lets in. Pure."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

Json = Mapping[str, Any]
UNITS = {
    "": 1,
    "m": Fraction(1, 1000),
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def amount(text: str | int) -> Fraction:
    """Return what Kubernetes understands by `500m`, `2`, `4Gi`."""
    number, unit = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text)).groups()
    return Fraction(number) * UNITS[unit]


def refused(limits: Json, pod: Json) -> list[str]:
    """Return what of `pod` is over the most of the LimitRange `limits`."""
    return [
        f"{name} of {given}"
        for most in limits["spec"]["limits"]
        for container in pod["containers"]
        for name, given in _amounts(limits, container)["limits"].items()
        if name in most.get("max", {}) and amount(given) > amount(most["max"][name])
    ]


def usage(limits: Json, pod: Json) -> dict[str, Fraction]:
    """Return what `pod` takes of a quota, under the names of `ResourceQuota.spec.hard`."""
    taken: dict[str, Fraction] = {"pods": Fraction(1)}
    for container in pod["containers"]:
        for side, amounts in _amounts(limits, container).items():
            for name, given in amounts.items():
                key = f"{side}.{name}"
                taken[key] = taken.get(key, Fraction(0)) + amount(given)
    return taken


def fit(quota: Json, one: Mapping[str, Fraction]) -> int:
    """Return how many of `one` the quota lets in. One that does not say what the quota counts is never let in."""
    hard = {name: amount(most) for name, most in quota["spec"]["hard"].items()}
    if not set(hard) <= set(one):
        return 0
    return int(min(most // one[name] for name, most in hard.items()))


def _amounts(limits: Json, container: Json) -> dict[str, dict[str, str]]:
    """Return the container's requests and limits as they are admitted: what it does not say is filled in."""
    given = container.get("resources", {})
    filled = {"requests": dict(given.get("requests", {})), "limits": dict(given.get("limits", {}))}
    for default in limits["spec"]["limits"]:
        for name, value in default.get("default", {}).items():
            filled["limits"].setdefault(name, value)
        for name, value in default.get("defaultRequest", {}).items():
            filled["requests"].setdefault(
                name, filled["limits"][name] if name in given.get("limits", {}) else value
            )
    return filled
