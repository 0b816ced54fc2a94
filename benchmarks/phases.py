"""Where the time of a start goes, read from a session's log: pure."""

from collections.abc import Sequence

import msgspec

from schemas.events import EVENTS, Claimed, InputTaken, TurnStarted
from services.runtime.pull import Delivery

# In the order in which they happen; what the worker measures itself stands in `turn started`.
PHASES = {
    "stored": "Slack's event posted, received, checked, input stored",
    "assigned": "scheduler: heard, admitted, remembered, assignment stored",
    "claimed": "worker: assignment taken, lease created, claim stored",
    "workspace": "worker: workspace cloned, branch taken, state restored",
    "agent": "the agent's own start",
    "started": "worker: session's log read before, `turn started` stored after",
    "taken": "worker: `input taken` stored; the agent gets it next",
}
AGENT = "agent"


class NotStarted(Exception):
    """The turn had no start that could be measured."""


class Start(msgspec.Struct, kw_only=True):
    """One start: the seconds of each phase, whether a worker was waiting, and until when a person sees something of it."""

    phases: dict[str, float]
    warm: bool
    signed: float = 0
    worded: float = 0

    @property
    def whole(self) -> float:
        """From the person's message to the agent's first input."""
        return sum(self.phases.values())

    @property
    def ours(self) -> float:
        """The whole without the agent's own start."""
        return self.whole - self.phases[AGENT]


def start_of(posted: float, assigned: float, log: Sequence[Delivery]) -> Start:
    """Fold a session of one turn; all times are Unix times of one machine. Raises `NotStarted`."""
    at: dict[str, float] = {}
    started = None
    for delivery in log:
        if ".in." in delivery.subject:
            at["stored"] = delivery.timestamp
            continue
        event = EVENTS.decode(delivery.data)
        if isinstance(event, Claimed | TurnStarted | InputTaken):
            at.setdefault(event.kind(), delivery.timestamp)
            started = event if isinstance(event, TurnStarted) else started
    if started is None:
        raise NotStarted("a turn ended before its agent started; the thread says why")
    workspace, agent = started.phases.workspace / 1000, started.phases.agent / 1000
    phases = {
        "stored": at["stored"] - posted,
        "assigned": assigned - at["stored"],
        "claimed": at["claimed"] - assigned,
        "workspace": workspace,
        "agent": agent,
        "started": at["turn-started"] - at["claimed"] - workspace - agent,
        "taken": at["input-taken"] - at["turn-started"],
    }
    return Start(phases=phases, warm=started.warm)
