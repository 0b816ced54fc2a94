"""What the API server wrote down of our ServiceAccounts' calls."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "system:serviceaccount:"


class Call(msgspec.Struct, frozen=True, order=True):
    """One call: by whom (`namespace:name`), `what` with its verb and namespace, or the path where it is about no object."""

    who: str
    what: str
    status: int


class Answer(msgspec.Struct, frozen=True):
    """When a call came, as a Unix time, and the seconds until it was answered."""

    verb: str
    kind: str
    came: float
    took: float


def answers(log: Path, who: str) -> list[Answer]:
    """Return the answers to what `who` asked about objects, but for watches."""
    found = []
    for event in _events(log):
        if (
            event["user"]["username"] == f"{PREFIX}{who}"
            and event.get("objectRef")
            and event["verb"] != "watch"
        ):
            came, done = (
                datetime.fromisoformat(event[each]).timestamp()
                for each in ("requestReceivedTimestamp", "stageTimestamp")
            )
            found.append(Answer(event["verb"], event["objectRef"]["resource"], came, done - came))
    return found


def calls(log: Path) -> list[Call]:
    """Return what is in `log`."""
    return [_call(event) for event in _events(log)]


def _events(log: Path) -> list[dict[str, Any]]:
    # The last line may be written just now.
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _call(event: dict[str, Any]) -> Call:
    about = event.get("objectRef")
    what = f"{event['verb']} {event['requestURI'].partition('?')[0]}"
    if about:
        kind = "/".join(filter(None, [about.get("apiGroup"), about["resource"], about.get("subresource")]))
        what = f"{event['verb']} {kind} in {about.get('namespace', 'the cluster')}"
    return Call(
        event["user"]["username"].removeprefix(PREFIX), what, event.get("responseStatus", {}).get("code", 0)
    )
