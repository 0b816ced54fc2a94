"""What the API server wrote down of our ServiceAccounts' calls."""

import json
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "system:serviceaccount:"


class Call(msgspec.Struct, frozen=True, order=True):
    """One call: by whom (`namespace:name`), `what` with its verb and namespace, or the path where it is about no object."""

    who: str
    what: str
    status: int


def calls(log: Path) -> list[Call]:
    """Return what is in `log`; its last line may be written just now."""
    lines = log.read_text().splitlines(keepends=True)
    return [_call(json.loads(line)) for line in lines if line.endswith("\n")]


def _call(event: dict[str, Any]) -> Call:
    about = event.get("objectRef")
    what = f"{event['verb']} {event['requestURI'].partition('?')[0]}"
    if about:
        kind = "/".join(filter(None, [about.get("apiGroup"), about["resource"], about.get("subresource")]))
        what = f"{event['verb']} {kind} in {about.get('namespace', 'the cluster')}"
    return Call(
        event["user"]["username"].removeprefix(PREFIX), what, event.get("responseStatus", {}).get("code", 0)
    )
