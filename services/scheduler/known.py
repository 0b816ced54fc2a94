"""What the log tells of a turn that did not come to its own end. Pure."""

from collections.abc import Sequence

import msgspec

from schemas.base import Message, Unknown
from schemas.events import CommitPushed, Event, InputTaken, TextBlock, TurnStarted
from services.runtime.fit import joined


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What workers left of a turn in the log."""

    inputs: tuple[int, ...]
    text: str = ""
    agent: str = ""
    branch: str = ""
    commits: tuple[CommitPushed, ...] = ()


def known_of(turn: int, events: Sequence[Message | Unknown]) -> Known:
    """Return what `events`, which are in order, tell of `turn`. Pure."""
    own = [event for event in events if isinstance(event, Event) and event.turn == turn]
    taken = [event.sequence for event in own if isinstance(event, InputTaken)]
    started = [event for event in own if isinstance(event, TurnStarted)]
    return Known(
        inputs=tuple(dict.fromkeys([turn, *taken])),
        text=joined([event.text for event in own if isinstance(event, TextBlock)]),
        agent=started[-1].agent if started else "",
        branch=started[-1].branch if started else "",
        commits=tuple(event for event in own if isinstance(event, CommitPushed)),
    )
