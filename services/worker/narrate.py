"""Agent events into the session's events: pure."""

from collections.abc import Sequence

import msgspec

from schemas import events, live
from services.runtime.redact import Pieces, Redaction
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
    """Tells what the agent of one turn does. `texts` are the turn's blocks of text, those of attempts `before` included."""

    def __init__(self, turn: int, redaction: Redaction, before: Sequence[str] = ()) -> None:
        self._turn = turn
        self._redaction = redaction
        self._pieces = Pieces(redaction)
        self._block = len(before)
        self._offset = 0
        self.texts = list(before)

    def delta(self, event: protocol.TextDelta, lease: int) -> live.TextDelta | None:
        """Return the live piece of the block that is being written, None while it may be the beginning of a secret."""
        text = self._pieces.push(event.text)
        if not text:
            return None
        piece = live.TextDelta(
            lease=lease, turn=self._turn, block=self._block, offset=self._offset, text=text
        )
        self._offset += len(text)
        return piece

    def tell(self, event: protocol.AgentEvent) -> events.Event | None:
        """Return what the thread hears of `event`; None for what is not told."""
        if isinstance(event, protocol.TextBlock):
            block, self._block, self._offset = self._block, self._block + 1, 0
            self._pieces = Pieces(self._redaction)
            self.texts.append(event.text)
            return events.TextBlock(turn=self._turn, block=block, text=event.text)
        kind = TOLD.get(type(event))
        if kind is None:
            return None
        return msgspec.convert(msgspec.to_builtins(event) | {"kind": kind.kind(), "turn": self._turn}, kind)
