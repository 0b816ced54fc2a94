"""What a container is told by its environment and arguments, as a kubelet says it. Pure."""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.kubernetes.kubelet.placement import amount

Object = Mapping[str, Any]
# `$(NAME)`; `$$(NAME)` is that text itself.
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.][-A-Za-z0-9_.]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Missing(Exception):
    """Something that the Pod needs is not there, as the kubelet words it."""


class Sources:
    """The ConfigMaps and Secrets of a Pod's namespace that it names, decoded: by kind and name."""

    def __init__(self, found: Mapping[tuple[str, str], Mapping[str, bytes]]) -> None:
        self._found = found

    def all_of(self, kind: str, reference: Object) -> Mapping[str, bytes]:
        """Return every key. Raises `Missing` unless it is optional."""
        name = reference["name"]
        if (kind, name) in self._found:
            return self._found[kind, name]
        if reference.get("optional"):
            return {}
        raise Missing(f'{kind.removesuffix("s")} "{name}" not found')

    def one_of(self, kind: str, reference: Object) -> str | None:
        """Return one key's value, None where it may be missing. Raises `Missing`."""
        values = self.all_of(kind, reference)
        if reference["key"] in values:
            return values[reference["key"]].decode()
        if reference.get("optional"):
            return None
        raise Missing(f"couldn't find key {reference['key']} in {kind.removesuffix('s')} {reference['name']}")


def decoded(obj: Object, kind: str) -> dict[str, bytes]:
    """Return the contents of a ConfigMap or Secret."""
    binary = obj.get("data") if kind == "secrets" else obj.get("binaryData")
    text = {} if kind == "secrets" else obj.get("data") or {}
    return {key: base64.b64decode(value) for key, value in (binary or {}).items()} | {
        key: value.encode() for key, value in text.items()
    }


def environment_of(container: Object, pod: Object, sources: Sources) -> dict[str, str]:
    """Return the variables of `envFrom` and `env`, in their order. Raises `Missing`."""
    found: dict[str, str] = {}
    for origin in container.get("envFrom") or []:
        for field, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if field in origin:
                values = sources.all_of(kind, origin[field])
                found |= {origin.get("prefix", "") + key: value.decode() for key, value in values.items()}
    for variable in container.get("env") or []:
        value = _value(variable, pod, container, sources, found)
        if value is not None:
            found[variable["name"]] = value
    return found


def _value(
    variable: Object, pod: Object, container: Object, sources: Sources, before: Mapping[str, str]
) -> str | None:
    origin = variable.get("valueFrom")
    if origin is None:
        return expanded(variable.get("value", ""), before)
    if "fieldRef" in origin:
        return field_of(pod, origin["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in origin:
        return _resource(container, origin["resourceFieldRef"])
    if "configMapKeyRef" in origin:
        return sources.one_of("configmaps", origin["configMapKeyRef"])
    return sources.one_of("secrets", origin["secretKeyRef"])


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` with its references filled; those to nobody stay as they are."""

    def fill(match: re.Match[str]) -> str:
        return "$" if match[1] is None else variables.get(match[1], match[0])

    return _REFERENCE.sub(fill, text)


def command_of(container: Object, variables: Mapping[str, str]) -> list[str]:
    """Return command and arguments."""
    words: Sequence[str] = [*(container.get("command") or []), *(container.get("args") or [])]
    return [expanded(word, variables) for word in words]


def field_of(pod: Object, path: str) -> str:
    """Return a field by the downward API's path."""
    if match := _SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = pod["metadata"].get(path.split(".")[1]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return str(found)


def _resource(container: Object, reference: Object) -> str:
    kind, _, name = reference["resource"].partition(".")
    given = ((container.get("resources") or {}).get(kind) or {}).get(name, "0")
    return str(math.ceil(amount(given) / amount(reference.get("divisor") or "1")))
