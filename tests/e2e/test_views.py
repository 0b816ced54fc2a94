"""The worker, the scheduler and the thread read one log: they are of one mind on whom a stop means, and on what waits."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Message
from schemas.buckets import OpenTurn, Turns
from schemas.ends import TurnEnd
from schemas.events import Event, Paused, TurnStarted
from schemas.inputs import Continued, Said, Stop
from schemas.keys import SessionKey
from schemas.people import Person
from services.ingress.writer.acts import Finish, Wait
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
        # Whether people see that what they said waits, and Continue.
        self.offered = False
        self.pressed: datetime | None = None
        self.running = False

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
            case "open" if self.memory.open is None and self.memory.waiting and not self.memory.paused:
                self.memory = opened(self.memory, self.at, self.at)
            case "begin" if self.memory.open and not self.running:
                self.begin(self.memory.open)
            case "end" if self.memory.open and self.running:
                self.end(self.memory.open.turn)

    def stop(self, stop: Stop, *, heard: bool) -> None:
        turn = self.memory.open
        opener = self.opener(turn) if turn and self.running else None
        if opener and self.worker.may_stop(stop, opener):
            self.pressed = max(stop.at, self.pressed or stop.at)
        if heard:
            return
        strikes = opener is not None and self.worker.stops(len(self.log) + 1, stop, opener)
        self.put(stop)
        if opener and turn and turn.stop is None and self.memory.open:
            assert (self.memory.open.stop is not None) is strikes

    def opener(self, turn: OpenTurn) -> Waiting:
        return Waiting(turn.turn, self.said(turn.turn), turn.opened_after)

    def said(self, sequence: int) -> Said:
        message = self.log[sequence - 1]
        assert isinstance(message, Said)
        return message

    def begin(self, turn: OpenTurn) -> None:
        """The worker comes to the turn that the scheduler opened, some time later."""
        stop = self.worker.stopped_by(self.opener(turn))
        assert (stop is None) is (turn.stop is None)
        self.running, self.pressed = True, stop.at if stop else None
        if stop:
            self.end(turn.turn)
            return
        self.worker.take(turn.turn)
        started = TurnStarted(turn=turn.turn, attempt=1, worker="w", agent="claude", resumed=False, warm=True)
        self.put(started)

    def end(self, turn: int) -> None:
        outcome = "cancelled" if self.pressed else "completed"
        end = TurnEnd(turn=turn, outcome=outcome, inputs=(turn,), user=ADA, pressed_at=self.pressed)  # type: ignore[arg-type]  # one of the words
        self.running = False
        self.worker.written(len(self.log) + 1, end)
        self.put(end)

    def put(self, message: Message) -> None:
        self.log.append(message)
        sequence = len(self.log)
        if not isinstance(message, Event):
            self.worker.apply(sequence, message)
            self.memory = fold(self.memory, sequence, message, self.at, attended=True)
        self.offered = self.offered and not isinstance(message, Said | Continued)
        for act in self.thread.fold(sequence, message):
            self.offered |= isinstance(act, Wait) or (isinstance(act, Finish) and act.queued > 0)
        if self.memory.open is None and self.worker.next_turn() is None and self.worker.pause_untold:
            assert not self.offered, "nobody is told twice"
            self.worker.told_pause()
            self.put(Paused())


THINGS = st.builds(
    Happens,
    what=st.sampled_from(["say", "say", "go on", "stop", "stop again", "open", "begin", "begin", "end"]),
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
            assert session.offered or not waits
