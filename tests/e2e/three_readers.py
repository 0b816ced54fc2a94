"""One session as its three readers see it: the worker, the scheduler and the thread."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from schemas.base import Message
from schemas.buckets import OpenTurn, Turns
from schemas.ends import TurnEnd
from schemas.events import Event, Paused, TurnStarted
from schemas.inputs import Continued, Said, Stop
from schemas.keys import SessionKey
from schemas.people import Person
from services.ingress.writer.acts import Finish, Wait
from services.ingress.writer.view import View
from services.scheduler import core
from services.scheduler.memory import fold, opened
from services.scheduler.settings import SchedulerSettings
from services.worker.core import Waiting
from tests.e2e.lagging_worker import Worker

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Person(id="U1")
RULES = SchedulerSettings()


class Happens(NamedTuple):
    """One thing, said or pressed up to some seconds before or after the one before it in the log.

    After it the worker hears of all that was pressed, with `ahead`, and of the next `told` messages of the log. `stored` tells
    whether the log has a stop now, or only when it is pressed again.
    """

    what: str
    seconds: int
    stored: bool
    ahead: bool
    told: int


class Session:
    """One session as all three see it: the thread and the scheduler at once, and whoever works on it when it hears."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.memory = Turns()
        self.thread = View(SessionKey("T1", "C1", "1-1"))
        self.at = BEGAN
        self.log: list[Message] = []
        self.stops: list[Stop] = []
        # Whether people see that what they said waits, and Continue.
        self.offered = False

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
                self.stop(self.stops[-1], stored=happens.stored)
            case "stop again" if self.stops:
                self.stop(self.stops[happens.seconds % len(self.stops)], stored=happens.stored)
            case "work":
                self.work()
            case "die":
                self.worker = None
        if self.worker and happens.ahead:
            self.hear_ahead(self.worker)
        self.hear(happens.told)
        if happens.what == "leave" and self.worker and self.worker.idle:
            self.worker = None

    def stop(self, stop: Stop, *, stored: bool) -> None:
        worker, turn = self.worker, self.memory.open
        if worker:
            worker.ahead.append(stop)
        if not stored:
            return
        strikes = worker and worker.turn and worker.view.stops(len(self.log) + 1, stop, worker.turn)
        self.put(stop)
        if worker and worker.turn and len(worker.untold) == 1 and turn and turn.stop is None:
            assert self.memory.open
            assert (self.memory.open.stop is not None) is strikes, "both know whom it means"

    def work(self) -> None:
        """Whoever has something to do takes the next step."""
        worker, turn = self.worker, self.memory.open
        if worker is None and turn and not turn.stop:
            self.worker = Worker(self.log)
            self.begin(self.worker, turn)
        elif worker is None:
            self.schedule()
        elif worker.turn:
            self.end(worker, worker.turn.sequence)
        elif worker.asked:
            self.answer(worker, worker.asked)
            self.tell(worker)
        else:
            worker.asked = worker.view.next_turn()

    def schedule(self) -> None:
        """The scheduler does what it decides on where nobody holds the session."""
        match self.decided:
            case core.OpenNext():
                self.memory = opened(self.memory, self.at, self.at)
            case core.End(turn):
                self.put(self.cancelled(turn.turn, turn.pressed_at))
            case core.Tell(since):
                if not any(isinstance(message, Paused) for message in self.log[since:]):
                    self.put(Paused())
                self.memory = replace(self.memory, untold_since=0)

    def answer(self, worker: Worker, asked: Waiting) -> None:
        """The scheduler lets `asked` open a turn, unless another one does, or it waits for people."""
        worker.asked = None
        first = self.memory.waiting[0].sequence if self.memory.waiting else 0
        if self.memory.open is None and first == asked.sequence and not self.memory.paused:
            self.memory = opened(self.memory, self.at, self.at)
        turn = self.memory.open
        if turn and turn.turn == asked.sequence and worker.view.is_open(turn.turn):
            self.begin(worker, turn)

    def begin(self, worker: Worker, turn: OpenTurn) -> None:
        """The worker comes to the turn that the scheduler opened, some time later."""
        worker.turn = Waiting(turn.turn, self.said(turn.turn), turn.opened_after)
        stop = worker.view.stopped_by(worker.turn)
        worker.pressed = stop.at if stop else None
        assert worker.untold or (stop is None) is (turn.stop is None)
        if stop:
            self.end(worker, turn.turn)
            return
        worker.view.take(turn.turn)
        started = TurnStarted(turn=turn.turn, attempt=1, worker="w", agent="claude", resumed=False, warm=True)
        self.put(started)

    def said(self, sequence: int) -> Said:
        message = self.log[sequence - 1]
        assert isinstance(message, Said)
        return message

    def end(self, worker: Worker, turn: int) -> None:
        """The worker ends its turn, and knows before the log tells."""
        end = TurnEnd(turn=turn, outcome="completed", inputs=(turn,), user=ADA)
        if worker.pressed:
            end = self.cancelled(turn, worker.pressed)
        worker.turn = worker.pressed = None
        worker.view.written(len(self.log) + 1, end)
        self.put(end)

    @staticmethod
    def cancelled(turn: int, pressed_at: datetime | None) -> TurnEnd:
        return TurnEnd(turn=turn, outcome="cancelled", inputs=(turn,), user=ADA, pressed_at=pressed_at)

    def put(self, message: Message) -> None:
        self.log.append(message)
        sequence = len(self.log)
        if not isinstance(message, Event):
            attended = self.worker is not None
            self.memory = fold(self.memory, sequence, message, self.at, attended=attended)
            if self.worker:
                self.worker.untold.append((sequence, message))
        self.offered = self.offered and not isinstance(message, Said | Continued)
        for act in self.thread.fold(sequence, message):
            assert not (self.offered and isinstance(act, Wait)), "nobody is told twice"
            self.offered |= isinstance(act, Wait) or (isinstance(act, Finish) and act.queued > 0)

    def hear_ahead(self, worker: Worker) -> None:
        for stop in worker.hear_ahead():
            assert worker.turn
            before = self.log[: worker.turn.opened_after]
            assert not any(stop is each for each in before), "it came before the turn, and means another"

    def hear(self, most: int) -> None:
        """Let the worker hear, and say between two turns what nobody else says."""
        for _ in range(most):
            if self.worker and self.worker.untold:
                self.worker.hear()
                self.tell(self.worker)

    def tell(self, worker: Worker) -> None:
        if worker.idle and worker.view.next_turn() is None and worker.view.pause_untold:
            worker.view.told_pause()
            self.put(Paused())

    @property
    def decided(self) -> core.Action:
        return core.decide(self.memory, core.View(now=self.at), RULES)

    @property
    def settled(self) -> bool:
        """Whether all has been heard and told, no turn is open and nobody is asked."""
        worker = self.worker
        return self.memory.open is None and (
            worker.idle and not worker.untold if worker else not isinstance(self.decided, core.Tell)
        )

    def settle(self) -> None:
        """Let everybody do what is left to do while people say nothing more."""
        for _ in range(100):
            self.hear(40)
            if self.settled and (self.memory.paused or not self.memory.waiting):
                return
            self.work()
        raise AssertionError("it comes to no rest")

    def check(self) -> None:
        worker, turn = self.worker, self.memory.open
        if worker and worker.turn and turn and not worker.untold and turn.stop:
            assert worker.pressed, "whoever works on a stopped turn knows"
        if self.settled and self.memory.waiting:
            waits = self.memory.paused
            assert worker is None or (worker.view.next_turn() is None) is waits
            assert self.thread.paused is waits
            assert self.offered or not waits
