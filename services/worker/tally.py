"""What a turn came to: its texts, its usage, its cost."""

import time
from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.base import MOST_DOLLARS, now
from schemas.ends import TurnEnd
from schemas.events import Outcome, Usage
from schemas.inputs import Control
from services.runtime.fit import joined
from services.worker.agents import protocol
from services.worker.core import Attempted, Waiting


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the turn ends, decided; `handed_over` ends only this worker's part of it.

    `pressed_at` is when the newest stop was pressed that became known meanwhile, whatever ends the turn.
    """

    outcome: Outcome = "completed"
    reason: str = ""
    stop_reason: str = ""
    pressed_at: datetime | None = None
    handed_over: bool = False

    @property
    def hurried(self) -> bool:
        """Whether people wait for the end: the work has but a moment to be saved before it, and is saved on after it."""
        return not self.handed_over and (self.outcome == "cancelled" or self.pressed_at is not None)

    def after(self, later: "Ending") -> "Ending":
        """Return this ending where `later` came too late to be the turn's; who pressed a stop, the log tells later."""
        presses = [each.pressed_at for each in (self, later) if each.pressed_at]
        who = later.stop_reason if self.reason == later.reason == STOPPED else ""
        return msgspec.structs.replace(
            self, stop_reason=self.stop_reason or who, pressed_at=max(presses, default=None)
        )


STOPPED = "stopped"
WITHDRAWN = Ending(outcome="cancelled", reason="the message was deleted")


def stopped(control: Control, by: str = "") -> Ending:
    """Return the ending of a turn that `control` stops; the log alone tells `by` whom."""
    return Ending(outcome="cancelled", reason=STOPPED, stop_reason=by, pressed_at=control.at)


def timed_out(seconds: float) -> Ending:
    """Return the ending of a turn that used up its time: it has taken `seconds`, all attempts together."""
    return Ending(outcome="timed_out", reason=f"it has taken {max(1, round(seconds / 60))} min")


def over_budget(dollars: float) -> Ending:
    """Return the ending of a turn that used up its budget, with the word that its agent would have for it."""
    reason = f"the turn's budget of ${dollars:g} is used up"
    return Ending(outcome="failed", reason=reason, stop_reason="max_budget")


class Tally:
    """Adds up what the agent reports when it has answered; `before` is what earlier attempts came to."""

    def __init__(self, before: Attempted) -> None:
        self._text = ""
        # The clock of the machine that began may have been another: what was done here counts in any case.
        self._earlier = max(0.0, (now() - before.began).total_seconds()) if before.began else 0.0
        self._began = time.monotonic()
        self.usage = before.usage
        self.cost_usd = before.cost_usd

    @property
    def seconds(self) -> float:
        """How long agents have worked on the turn, from the first one's start."""
        return self._earlier + time.monotonic() - self._began

    def add(self, finished: protocol.Finished) -> None:
        """Add one answer."""
        self._text = joined((self._text, finished.text))
        self.usage = _sum(self.usage, finished.usage)
        if 0 <= finished.cost_usd <= MOST_DOLLARS:  # anything else is no amount, NaN included
            self.cost_usd = min(MOST_DOLLARS, self.cost_usd + finished.cost_usd)

    def end(self, opener: Waiting, ending: Ending, inputs: tuple[int, ...], texts: Sequence[str]) -> TurnEnd:
        """Return the turn's end, as far as it is known here; an agent that was cut short said `texts`."""
        return TurnEnd(
            turn=opener.sequence,
            outcome=ending.outcome,
            inputs=inputs,
            user=opener.said.user,
            text=self._text or joined(texts),
            reason=ending.reason,
            stop_reason=ending.stop_reason,
            pressed_at=ending.pressed_at,
            usage=self.usage,
            cost_usd=self.cost_usd,
            duration_ms=round(self.seconds * 1000),
        )


def _sum(one: Usage, other: protocol.Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
    )
