"""What the broker tells of its streams and consumers, judged by the map. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.cli.findings import Finding
from services.runtime.topology import grown

# From here on ingress refuses new turns, so that the running ones can still end.
TIGHT = 0.8
# More than this waits only where a service is slow, or away.
MOST_PENDING = 1_000
# Ten times what the archiver takes by default to write an object.
MOST_UNARCHIVED_SECONDS = 300

APPLY = "start a service of this version: it makes the broker look like the map"
UNITS = ("B", "kB", "MB", "GB", "TB")


def stream_finding(wanted: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """Return what is to be said of a stream that should be as `wanted`; `info` is the broker's answer."""
    name = str(wanted["name"])
    if "error" in info:
        return Finding(name, "missing", ok=False, todo=APPLY)
    config, state = info["config"], info["state"]
    # Another version may use other words.
    after = grown(config, wanted) | {"description": config.get("description")}
    other = sorted(field for field in after if after[field] != config.get(field))
    found = f"{state['messages']:,} messages, {_filled(config, state)}, replicas: {config['num_replicas']}"
    if other:
        return Finding(name, f"{found}; other than the map says: {', '.join(other)}", ok=False, todo=APPLY)
    if away := _away(info):
        todo = "start that node of the broker again, or let it catch up"
        return Finding(name, f"{found}; not in step: {', '.join(away)}", ok=False, todo=todo, needed=False)
    if config["max_bytes"] > 0 and state["bytes"] >= TIGHT * config["max_bytes"]:
        todo = f"give it more room: nats stream edit {name} --max-bytes ... (docs/operations.md)"
        return Finding(name, f"{found}; nearly full", ok=False, todo=todo, needed=False)
    return Finding(name, found)


def _filled(config: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    if config["max_bytes"] <= 0:
        return size(state["bytes"])
    share = state["bytes"] / config["max_bytes"]
    return f"{size(state['bytes'])} of {size(config['max_bytes'])} ({share:.0%})"


def _away(info: Mapping[str, Any]) -> list[str]:
    peers = info.get("cluster", {}).get("replicas") or []
    return [peer["name"] for peer in peers if peer.get("offline") or not peer.get("current")]


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def consumer_finding(name: str, info: Mapping[str, Any]) -> Finding:
    """Return what is to be said of the consumer `<stream>/<name>`."""
    if "error" in info:
        return Finding(name, "missing", ok=False, todo=APPLY)
    pending, again = int(info["num_pending"]), int(info["num_redelivered"])
    found = f"pending: {pending:,}, being worked on: {info['num_ack_pending']:,}, brought again: {again:,}"
    service = name.partition("/")[2]
    if pending > MOST_PENDING:
        todo = f"see whether {service} runs and keeps up: its log, and another replica"
        return Finding(name, found, ok=False, todo=todo, needed=False)
    if again:
        todo = f"read the log of {service}: something fails and is tried again"
        return Finding(name, found, ok=False, todo=todo, needed=False)
    return Finding(name, found)


def letters_finding(info: Mapping[str, Any]) -> Finding:
    """Return what is to be said of DEADLETTER."""
    count = int(info["state"]["messages"]) if "state" in info else 0
    found = f"{count:,}" if count else "none"
    return Finding(
        "dead letters", found, ok=not count, todo="look at them: threadmill dead list", needed=False
    )


def unarchived_finding(oldest: datetime | None, at: datetime) -> Finding:
    """Return what is to be said of the oldest event that is not archived; None when all are."""
    what = "oldest unarchived event"
    if oldest is None:
        return Finding(what, "all are archived")
    age = max(0.0, (at - oldest).total_seconds())
    todo = "see whether the archiver runs and reaches its store: its log"
    return Finding(what, f"{age:,.0f} s old", ok=age <= MOST_UNARCHIVED_SECONDS, todo=todo, needed=False)
