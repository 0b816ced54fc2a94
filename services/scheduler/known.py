"""What the log tells of a turn that did not come to its own end. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.base import Message, Unknown
from schemas.events import CommitPushed, Event, HandedOver, InputTaken, TextBlock, TurnStarted
from services.runtime.fit import joined


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What workers left of a turn in the log.

    `began` is when the first agent did; `cost_usd` is what those cost that handed over. `complete` tells that no agent
    was cut short.
    """

    inputs: tuple[int, ...]
    text: str = ""
    agent: str = ""
    branch: str = ""
    commits: tuple[CommitPushed, ...] = ()
    began: datetime | None = None
    cost_usd: float = 0.0
    complete: bool = True


def known_of(turn: int, events: Sequence[Message | Unknown]) -> Known:
    """Return what `events`, which are in order, tell of `turn`. Pure."""
    own = [event for event in events if isinstance(event, Event) and event.turn == turn]
    taken = [event.sequence for event in own if isinstance(event, InputTaken)]
    started = [event for event in own if isinstance(event, TurnStarted)]
    handed_over = [event for event in own if isinstance(event, HandedOver)]
    return Known(
        inputs=tuple(dict.fromkeys([turn, *taken])),
        text=joined([event.text for event in own if isinstance(event, TextBlock)]),
        agent=started[-1].agent if started else "",
        branch=started[-1].branch if started else "",
        commits=tuple(event for event in own if isinstance(event, CommitPushed)),
        began=started[0].at if started else None,
        cost_usd=handed_over[-1].cost_usd if handed_over else 0.0,
        complete=_is_complete(own),
    )


def _is_complete(own: Sequence[Event]) -> bool:
    """Whether the last agent handed over. A claim alone risks nothing: an agent gets no input before `TurnStarted`."""
    moves = [event for event in own if isinstance(event, TurnStarted | HandedOver)]
    return not moves or isinstance(moves[-1], HandedOver)
