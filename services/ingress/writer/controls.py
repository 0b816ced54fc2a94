"""The message with Stop and Details, there while a turn runs and gone after it."""

from collections.abc import Callable

from schemas.keys import SessionKey
from services.ingress.slack_api import Json
from services.ingress.writer import blocks
from services.ingress.writer.ledger import Mark, metadata
from services.ingress.writer.pen import Pen
from services.ingress.writer.settling import Settling, Spawn, Step


class Controls:
    """Wants one such message or none. `doubtful` tells that one may stand there without our knowing where."""

    def __init__(self, pen: Pen, key: SessionKey, spawn: Spawn, posted: Callable[[], None]) -> None:
        self._key = key
        self._turn = 0
        self._posted = posted
        self._places: list[str] = []
        self.doubtful = False
        self._settling = Settling(pen, key, spawn, self._step)

    def inherit(self, places: list[str]) -> None:
        """These stand there already; beside those that we know, there are no others."""
        self._places, self.doubtful = list(dict.fromkeys([*self._places, *places])), False
        self._settling.poke()

    def want(self, turn: int, settled: Callable[[], None] | None = None) -> None:
        """Stand there for `turn`, or with 0 not at all."""
        self._turn = turn
        self._settling.poke(settled)

    def _step(self) -> Step | None:
        if self._turn and not self._places and not self.doubtful:
            arguments = {
                "channel": self._key.channel,
                "thread_ts": self._key.thread_ts,
                "text": "Working on it.",
                "blocks": blocks.controls(self._key),
                "metadata": metadata(self._key, self._turn, Mark("controls", self._turn)),
            }
            return Step("chat.postMessage", arguments, self._stands, urgency="live", lost=self._lost)
        if self._places and not self._turn:
            arguments = {"channel": self._key.channel, "ts": self._places[0]}
            return Step("chat.delete", arguments, self._went)
        return None

    def _lost(self) -> None:
        self.doubtful = True

    def _went(self, _: Json) -> None:
        self._places.pop(0)

    def _stands(self, answer: Json) -> None:
        self._places.append(str(answer["ts"]))
        self._posted()
