"""What is said of a Pod and its containers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
KILLED = 137
HOST = "10.0.0.1"


def stamp() -> str:
    """Return the time as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Container:
    """What is known of one container."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it has not."""
        code = (self.state.get("terminated") or {}).get("exitCode")
        return None if code is None else int(code)

    @property
    def has_run(self) -> bool:
        return "running" in self.state or bool(self.last) or self.exit_code is not None

    def waits(self, reason: str, message: str = "") -> None:
        if "terminated" in self.state:
            self.last = self.state
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
        self.ready = self.started = False

    def runs(self) -> None:
        self.state = {"running": {"startedAt": stamp()}}

    def ended(self, code: int, reason: str = "", message: str = "") -> None:
        since = (self.state.get("running") or {}).get("startedAt", stamp())
        told = {"exitCode": code, "reason": reason or ("Error" if code else "Completed"), "message": message}
        self.state = {"terminated": {"startedAt": since, "finishedAt": stamp()} | told}
        self.ready = self.started = False

    def told(self) -> Object:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image,
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }


def phase_of(containers: Iterable[Container], *, over: bool) -> str:
    """Return the phase; `over` says that none of them is started again."""
    codes = [each.exit_code for each in containers]
    if over:
        return "Succeeded" if all(code == 0 for code in codes) else "Failed"
    return "Running" if all(each.has_run for each in containers) else "Pending"


def status_of(
    containers: Sequence[Container], before: Sequence[Container], *, started: str, ip: str, over: bool
) -> Object:
    """Return the status of a Pod with these `containers`, and those that ran `before` them."""
    ready = all(each.ready for each in containers)
    initialized = all(each.exit_code == 0 for each in before)
    phase = phase_of(containers, over=over)
    why = {"reason": "PodCompleted"} if phase == "Succeeded" else {"reason": "ContainersNotReady"}
    marks = {
        "PodScheduled": (True, {}),
        "Initialized": (initialized, {"reason": "ContainersNotInitialized"}),
        "ContainersReady": (ready, why),
        "Ready": (ready, why),
    }
    return {
        "phase": phase,
        "startTime": started,
        "hostIP": HOST,
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [
            condition(kind, holds, **({} if holds else more)) for kind, (holds, more) in marks.items()
        ],
        "containerStatuses": [each.told() for each in containers],
        "initContainerStatuses": [each.told() for each in before],
    }


def condition(kind: str, holds: bool, **more: str) -> Object:
    """Return one condition that begins to hold, or not to, now."""
    now = {"lastTransitionTime": stamp()}
    return {"type": kind, "status": str(holds)} | now | {"reason": "", "message": ""} | more


def since_when(conditions: Iterable[Object], earlier: Iterable[Mapping[str, Any]]) -> list[Object]:
    """Return `conditions`, each that was so `earlier` as old as it was."""
    known = {each["type"]: each for each in earlier}
    return [
        each | {"lastTransitionTime": known[each["type"]]["lastTransitionTime"]}
        if known.get(each["type"], {}).get("status") == each["status"]
        else each
        for each in conditions
    ]
