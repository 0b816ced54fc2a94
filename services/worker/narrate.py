"""Agent events into the session's events: pure."""

import msgspec

from schemas import events, live
from services.worker.agents import protocol

# Fields have the same names on both sides; what ends a turn is told by the turn itself.
TOLD: dict[type, type[events.Event]] = {
    protocol.Thinking: events.Thought,
    protocol.ToolStarted: events.ToolStarted,
    protocol.ToolFinished: events.ToolFinished,
    protocol.PlanUpdated: events.PlanUpdated,
    protocol.QuestionAsked: events.QuestionAsked,
    protocol.Notice: events.Notice,
}


class Narrator:
    """Tells what the agent of one turn does; counts its blocks of text."""

    def __init__(self, turn: int, first_block: int = 0) -> None:
        self._turn = turn
        self._block = first_block
        self._offset = 0

    def delta(self, event: protocol.TextDelta, lease: int) -> live.TextDelta:
        """Return the live piece of the block that is being written."""
        piece = live.TextDelta(
            lease=lease, turn=self._turn, block=self._block, offset=self._offset, text=event.text
        )
        self._offset += len(event.text)
        return piece

    def tell(self, event: protocol.AgentEvent) -> events.Event | None:
        """Return what the thread hears of `event`; None for what is not told."""
        if isinstance(event, protocol.TextBlock):
            block, self._block, self._offset = self._block, self._block + 1, 0
            return events.TextBlock(turn=self._turn, block=block, text=event.text)
        kind = TOLD.get(type(event))
        if kind is None:
            return None
        return msgspec.convert(msgspec.to_builtins(event) | {"kind": kind.kind(), "turn": self._turn}, kind)
