"""From the places that a Pod knows to those on this machine: paths, its ports, other Services' addresses. Pure."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Object = Mapping[str, Any]
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*)(?::(?P<port>\d+))?"
)
_LOOPBACK = re.compile(r"\b(127\.0\.0\.1|localhost):(\d{1,5})\b")
_PORT = re.compile(r"(--port[= ])(\d{1,5})\b")
_DEFAULT_PORTS = {"http": 80, "https": 443}
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


class Address(NamedTuple):
    """A Service's port; `pod` is the host name of one of its Pods, empty for any."""

    namespace: str
    service: str
    port: int
    pod: str = ""


def located(value: str, mounts: Iterable[str], root: Path) -> str:
    """Return `value`, or the part of `--option=value`, below `root` where it is in one of the `mounts`."""
    option, equals, rest = value.partition("=")
    if value.startswith("-") and equals:
        return f"{option}={located(rest, mounts, root)}"
    within = any(value == mount or value.startswith(mount.rstrip("/") + "/") for mount in mounts)
    return f"{root}{value}" if within else value


def address_of(match: re.Match[str], namespace: str) -> Address | None:
    """Return the Service that one match of `_ADDRESS` may name, seen from `namespace`."""
    port = int(match["port"] or 0) or _DEFAULT_PORTS.get(match["scheme"] or "")
    labels = match["host"].removesuffix(".cluster.local").removesuffix(".svc").split(".")
    if not port or len(labels) > 3:
        return None
    pod = labels[0] if len(labels) == 3 else ""
    service, *rest = labels[1:] if pod else labels
    return Address(rest[0] if rest else namespace, service, port, pod)


def mentioned(value: str, namespace: str) -> set[Address]:
    """Return the Services that `value` may name; whether they exist is another matter."""
    found = (address_of(match, namespace) for match in _ADDRESS.finditer(value))
    return {each for each in found if each}


def connected(value: str, namespace: str, ports: Mapping[Address, int]) -> str:
    """Return `value` with the addresses of `ports` replaced by where they are on this machine."""

    def fill(match: re.Match[str]) -> str:
        address = address_of(match, namespace)
        if address is None or address not in ports:
            return match[0]
        scheme = f"{match['scheme']}://" if match["scheme"] else ""
        return f"{scheme}127.0.0.1:{ports[address]}"

    return _ADDRESS.sub(fill, value)


def at_home(value: str, ports: Mapping[int, int]) -> str:
    """Return `value` with the Pod's own `ports` on its loopback as they are on this machine."""
    return _LOOPBACK.sub(lambda match: f"{match[1]}:{ports.get(int(match[2]), match[2])}", value)


def told_ports(container: Object, local: Mapping[int, int]) -> dict[str, str]:
    """Return the variables that tell one of our own programs its port on this machine."""
    return {
        f"THREADMILL_{port['name'].upper()}_PORT": str(local[port["containerPort"]])
        for port in container.get("ports") or []
        if port.get("name") in ("health", "http")
    }


def with_ports(command: list[str], local: Mapping[int, int]) -> list[str]:
    """Return `command` with the Pod's own ports after `--port` as they are on this machine, in a script too."""

    def here(number: str) -> str:
        return str(local.get(int(number), number))

    after = ["", *command]
    return [
        here(word)
        if before == "--port" and word.isdecimal()
        else _PORT.sub(lambda match: f"{match[1]}{here(match[2])}", word)
        for before, word in zip(after, command, strict=False)
    ]
