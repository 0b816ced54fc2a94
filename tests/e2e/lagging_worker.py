"""A worker as far as it knows its session: by a log that tells later than things happen."""

from collections import deque
from datetime import datetime

from schemas.base import Message
from schemas.events import Event
from schemas.inputs import Control, Stop
from services.worker.core import SessionView, Waiting


class Worker:
    """Who holds the session. Of its log it has `untold` still to hear, and of what was pressed `ahead` of that."""

    def __init__(self, log: list[Message]) -> None:
        self.view = SessionView()
        self.untold: deque[tuple[int, Message]] = deque()
        self.asked: Waiting | None = None
        self.turn: Waiting | None = None
        self.pressed: datetime | None = None
        self.told: list[Message] = []
        self.ahead: list[Stop] = []
        for sequence, message in enumerate(log, start=1):
            if not isinstance(message, Event):
                self.view.apply(sequence, message)
                self.told.append(message)

    def hear(self) -> None:
        """Hear the next message in the log."""
        sequence, message = self.untold.popleft()
        if self.turn and isinstance(message, Control) and self.view.stops(sequence, message, self.turn):
            self.press(message)
        self.view.apply(sequence, message)
        self.told.append(message)

    def hear_ahead(self) -> list[Stop]:
        """Hear what was pressed, of which the log may not tell yet; return what ends the turn."""
        pressed, self.ahead = self.ahead, []
        new = [stop for stop in pressed if not any(stop is each for each in self.told)]
        meant = [stop for stop in new if self.turn and self.view.may_stop(stop, self.turn)]
        for stop in meant:
            self.press(stop)
        return meant

    def press(self, stop: Control) -> None:
        """The turn has to end for `stop`."""
        self.pressed = max(stop.at, self.pressed or stop.at)

    @property
    def idle(self) -> bool:
        """Whether it works on nothing, and waits for no answer."""
        return self.turn is None and self.asked is None
