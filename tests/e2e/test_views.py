"""The worker, the scheduler and the thread read one log: they are of one mind on whom a stop means, and on what waits."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Message
from schemas.buckets import Turns
from schemas.ends import TurnEnd
from schemas.events import TurnStarted
from schemas.inputs import Continued, Said, Stop
from schemas.keys import SessionKey
from schemas.people import Person
from services.ingress.writer.view import View
from services.scheduler.memory import fold, opened
from services.worker.core import SessionView, Waiting

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Person(id="U1")


class Happens(NamedTuple):
    """One thing, said or pressed up to some seconds before or after the one before it in the log."""

    what: str
    seconds: int
    heard: bool


class Session:
    """One session as all three see it; the worker hears of its own ends before the log tells of them."""

    def __init__(self) -> None:
        self.worker, self.memory = SessionView(), Turns()
        self.thread = View(SessionKey("T1", "C1", "1-1"))
        self.at = BEGAN
        self.log: list[Message] = []
        self.stops: list[Stop] = []
        self.pressed: datetime | None = None

    def happens(self, happens: Happens) -> None:
        self.at = max(BEGAN, self.at + timedelta(seconds=happens.seconds))
        number = len(self.log) + 1
        match happens.what:
            case "say":
                self.put(Said(id=str(number), user=ADA, text="a", at=self.at))
            case "go on":
                self.put(Continued(id=str(number), user=ADA, at=self.at))
            case "stop":
                self.stops.append(Stop(user=ADA, at=self.at))
                self.stop(self.stops[-1], heard=happens.heard)
            case "stop again" if self.stops:
                self.stop(self.stops[happens.seconds % len(self.stops)], heard=happens.heard)
            case "begin" if self.memory.open is None and self.memory.waiting:
                self.begin()
            case "end" if self.memory.open:
                self.end(self.memory.open.turn)

    def stop(self, stop: Stop, *, heard: bool) -> None:
        turn = self.memory.open
        opener = Waiting(turn.turn, self.said(turn.turn)) if turn else None
        if opener and self.worker.may_stop(stop, opener):
            self.pressed = max(stop.at, self.pressed or stop.at)
        if heard:
            return
        strikes = opener is not None and self.worker.stops(len(self.log) + 1, stop, opener)
        self.put(stop)
        if turn and turn.stop is None and self.memory.open:
            assert (self.memory.open.stop is not None) is strikes

    def said(self, sequence: int) -> Said:
        message = self.log[sequence - 1]
        assert isinstance(message, Said)
        return message

    def begin(self) -> None:
        self.memory = opened(self.memory, self.at, self.at)
        assert self.memory.open
        turn = self.memory.open.turn
        self.worker.take(turn)
        self.put(TurnStarted(turn=turn, attempt=1, worker="w", agent="claude", resumed=False, warm=True))
        self.pressed = None

    def end(self, turn: int) -> None:
        outcome = "cancelled" if self.pressed else "completed"
        end = TurnEnd(turn=turn, outcome=outcome, inputs=(turn,), user=ADA, pressed_at=self.pressed)  # type: ignore[arg-type]  # one of the words
        self.worker.written(len(self.log) + 1, end)
        self.put(end)

    def put(self, message: Message) -> None:
        self.log.append(message)
        sequence = len(self.log)
        if not isinstance(message, TurnStarted):
            self.worker.apply(sequence, message)
            self.memory = fold(self.memory, sequence, message, self.at, attended=True)
        self.thread.fold(sequence, message)


THINGS = st.builds(
    Happens,
    what=st.sampled_from(["say", "say", "go on", "stop", "stop again", "begin", "end"]),
    seconds=st.integers(-3, 5),
    heard=st.booleans(),
)


@given(st.lists(THINGS, max_size=40))
def test_all_are_of_one_mind_on_what_waits_for_people(things: list[Happens]) -> None:
    session = Session()
    for each in things:
        session.happens(each)
        if session.memory.open is None and session.memory.waiting:
            waits = session.memory.paused
            assert (session.worker.next_turn() is None) is waits
            assert session.thread.paused is waits
