"""Folds a session's log into what its thread should show. Pure: the same log gives the same view anywhere."""

from typing import Any

import msgspec

from schemas import events, live
from schemas.base import Message, Unknown
from schemas.ends import TurnEnd
from schemas.inputs import Said, Withdrawn
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.stops import Stops
from services.ingress.slack_api import SessionStatus
from services.ingress.writer.acts import (
    LAST_SIGNS,
    SEEN,
    WORKING,
    Act,
    Ask,
    Close,
    Name,
    React,
    Refuse,
    Share,
    Tell,
    Wait,
)  # fmt: skip
from services.ingress.writer.turn import Turn

THINKING, BUSY = "is thinking...", "is working..."
MOST_STATUS = 150


class Waiting(msgspec.Struct, frozen=True):
    """An input without a fate. `ts` is its message's, empty where it came from no message."""

    id: str
    ts: str
    user: Person


class View:
    """What one thread should show. `fold` and `hear` change it and return what that asks of the thread."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.lease = 0
        self.turn: Turn | None = None
        self.waiting: dict[int, Waiting] = {}
        self.questions: dict[str, tuple[int, events.QuestionAsked]] = {}
        self._stops = Stops()
        self._paused = self._offered = False
        self._newest = ""
        self._known = False
        self._ended = 0
        self._busy = ""

    @property
    def idle(self) -> bool:
        """Whether nothing is open and nothing waits."""
        return self.turn is None and not self.waiting and not self.questions

    @property
    def paused(self) -> bool:
        """Whether messages wait for Continue, or for the next one."""
        return self._paused and bool(self.waiting)

    @property
    def session_status(self) -> SessionStatus | None:
        """How Slack should see the session; None before its first input."""
        if self.questions:
            return "suspended"
        if self.turn or (self.waiting and not self.paused):
            return "processing"
        return "active" if self._known else None

    @property
    def status(self) -> str:
        """What the assistant is busy with, in Slack's words; empty when it is not."""
        if self.session_status != "processing":
            return ""
        return self._busy or (BUSY if self.turn else THINKING)

    @property
    def latest_turn(self) -> int:
        """The turn that is open, else the last one that ended; 0 before the first."""
        return self.turn.number if self.turn else self._ended

    @property
    def unfinished_since(self) -> str:
        """The `ts` after which everything stands that is not finished; empty where that is not known.

        It is that of the oldest message without an end, else of the newest one.
        """
        waiting = [one.ts for one in self.waiting.values()]
        running = [*self.turn.inputs.values()] or [""] if self.turn else []
        return min([*waiting, *running], default=self._newest)

    def fold(self, sequence: int, message: Message | Unknown) -> list[Act]:
        """Take the stored message at `sequence`."""
        self._pause(message)
        if handler := _HANDLERS.get(type(message)):
            return list(handler(self, sequence, message))
        if isinstance(message, events.Event) and (turn := self._open(message)):
            return turn.fold(message)
        return []

    def _pause(self, message: Message | Unknown) -> None:
        pauses = self._stops.pauses(message)
        self._paused = self._paused if pauses is None else pauses
        self._offered = self._offered and self._paused
        self._stops = self._stops.after(message)

    def hear(self, message: Message | Unknown) -> list[Act]:
        """Take a live message; what comes from an older lease or a turn that ended is dropped."""
        if not isinstance(message, live.Live) or message.turn <= self._ended or self._is_of_old(message):
            return []
        if isinstance(message, live.Status):
            self._busy = message.text[:MOST_STATUS]
        if isinstance(message, live.TextDelta) and self.turn and self.turn.number == message.turn:
            return self.turn.hear(message)
        return []

    def _is_of_old(self, message: live.Live) -> bool:
        begun = self.turn is not None and self.turn.number >= message.turn
        # Until somebody begins a turn the scheduler speaks of it, which holds no lease; an earlier turn's counts no more.
        return message.lease < self.lease and (begun or message.lease > 0)

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _said(self, sequence: int, said: Said) -> list[Act]:
        ts = message_ts(said.id)
        self.waiting[sequence] = Waiting(said.id, ts, said.user)
        self._known, self._newest = True, ts or self._newest
        return [React(ts=ts, name=SEEN)] if ts else []

    def _withdrawn(self, _: int, withdrawn: Withdrawn) -> list[Act]:
        self.waiting = {place: one for place, one in self.waiting.items() if one.id != withdrawn.of}
        return []

    # --- a turn's life ----------------------------------------------------------------------------------------------

    def _claimed(self, _: int, claimed: events.Claimed) -> list[Act]:
        self.lease = claimed.lease
        return self.turn.taken_over() if self.turn else []

    def _turn_started(self, _: int, started: events.TurnStarted) -> list[Act]:
        self._busy, self._known = "", True
        if started.turn <= self._ended or self._open(started):
            return []
        opener = self.waiting.pop(started.turn, None)
        self.turn = Turn(started.turn, opener.user if opener else Person(id=""))
        return self._take(self.turn, started.turn, opener)

    def _input_taken(self, _: int, taken: events.InputTaken) -> list[Act]:
        one = self.waiting.pop(taken.sequence, None)
        return self._take(self.turn, taken.sequence, one) if self.turn else []

    @staticmethod
    def _take(turn: Turn, sequence: int, one: Waiting | None) -> list[Act]:
        if not one or not one.ts:
            return []
        turn.inputs[sequence] = one.ts
        return [React(turn=turn.number, ts=one.ts, name=WORKING)]

    def _turn_ended(self, _: int, end: TurnEnd) -> list[Act]:
        if end.turn <= self._ended:
            return []
        turn = self._open(end) or Turn(end.turn, end.user)
        taken = [self.waiting.pop(place) for place in end.inputs if place in self.waiting]
        signed = [*turn.inputs.values(), *(one.ts for one in taken if one.ts)]
        lapsed, self.questions = list(self.questions.values()), {}
        self.turn, self._ended, self._busy, self._known = None, end.turn, "", True
        queued = len(self.waiting) if self.paused else 0
        self._offered = self._offered or queued > 0
        return [
            *(
                Close(turn=end.turn, asked=asked, question=each, closed=events.QuestionClosed(id=each.id))
                for asked, each in lapsed
            ),
            *(React(turn=end.turn, ts=ts, name=LAST_SIGNS[end.outcome]) for ts in signed),
            *turn.cut_short(),
            *self._last_word(turn, end, queued),
        ]

    @staticmethod
    def _last_word(turn: Turn, end: TurnEnd, queued: int) -> list[Act]:
        if end.outcome != "rejected":
            return [turn.finish(end, queued)]
        return [Refuse(turn=end.turn, end=end), *([Wait(turn=end.turn, queued=queued)] if queued else [])]

    # --- what people must see ---------------------------------------------------------------------------------------

    def _asked(self, sequence: int, question: events.QuestionAsked) -> list[Act]:
        self.questions[question.id] = (sequence, question)
        return [Ask(turn=question.turn, question=question)]

    def _closed(self, _: int, closed: events.QuestionClosed) -> list[Act]:
        asked, question = self.questions.pop(closed.id, (0, None))
        if question is None:
            return []
        return [Close(turn=question.turn, asked=asked, question=question, closed=closed)]

    def _shared(self, _: int, shared: events.FileShared) -> list[Act]:
        return [Share(turn=shared.turn, file=shared.file)]

    def _notice(self, _: int, notice: events.Notice) -> list[Act]:
        if (turn := self._open(notice)) and notice.level == "info":
            turn.notes.append(notice.text)
            return []
        return [Tell(turn=notice.turn, text=notice.text, level=notice.level)]

    def _pushed(self, _: int, pushed: events.CommitPushed) -> list[Act]:
        if turn := self._open(pushed):
            return turn.fold(pushed)
        # A save that a stop did not wait for, or of what came after the turn: its final message knows nothing of it.
        text = f"Pushed {pushed.sha[:7]} to {pushed.branch}: {pushed.title}"
        return [Tell(turn=pushed.turn, text=text, level="info")]

    def _paused_between_turns(self, _: int, __: events.Paused) -> list[Act]:
        if self._offered or self.turn or not self.paused:
            return []
        self._offered = True
        return [Wait(turn=self._ended, queued=len(self.waiting))]

    def _titled(self, _: int, titled: events.Titled) -> list[Act]:
        return [Name(title=titled.title)]

    def _open(self, event: events.Event | TurnEnd) -> Turn | None:
        return self.turn if self.turn and event.turn == self.turn.number else None


_HANDLERS: dict[type, Any] = {
    Said: View._said,  # noqa: SLF001 (its own table)
    Withdrawn: View._withdrawn,  # noqa: SLF001 (its own table)
    TurnEnd: View._turn_ended,  # noqa: SLF001 (its own table)
    events.Claimed: View._claimed,  # noqa: SLF001 (its own table)
    events.TurnStarted: View._turn_started,  # noqa: SLF001 (its own table)
    events.InputTaken: View._input_taken,  # noqa: SLF001 (its own table)
    events.QuestionAsked: View._asked,  # noqa: SLF001 (its own table)
    events.QuestionClosed: View._closed,  # noqa: SLF001 (its own table)
    events.FileShared: View._shared,  # noqa: SLF001 (its own table)
    events.Notice: View._notice,  # noqa: SLF001 (its own table)
    events.CommitPushed: View._pushed,  # noqa: SLF001 (its own table)
    events.Paused: View._paused_between_turns,  # noqa: SLF001 (its own table)
    events.Titled: View._titled,  # noqa: SLF001 (its own table)
}


def message_ts(input_id: str) -> str:
    """Return the `ts` of the message that an input's id names, empty where it names none."""
    seconds, _, micros = input_id.partition("-")
    return f"{seconds}.{micros}" if seconds.isdecimal() and micros.isdecimal() else ""
