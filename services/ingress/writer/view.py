"""Folds a session's log into what its thread should show. Pure: the same log gives the same view anywhere."""

from typing import Any

import msgspec

from schemas import events, live
from schemas.base import Message, Unknown
from schemas.ends import TurnEnd
from schemas.events import QuestionAsked
from schemas.inputs import Continued, Said, Withdrawn
from schemas.keys import SessionKey
from schemas.people import Person
from services.ingress.slack_api import SessionStatus
from services.ingress.writer.acts import (
    LAST_SIGNS,
    SEEN,
    WORKING,
    Act,
    Ask,
    Card,
    Close,
    Finish,
    Name,
    Plan,
    React,
    Refuse,
    Share,
    Tell,
    Text,
)

THINKING, BUSY = "is thinking...", "is working..."


class Waiting(msgspec.Struct, frozen=True):
    """An input without a fate. `ts` is its message's, empty where it came from no message."""

    id: str
    ts: str
    user: Person


class Turn(msgspec.Struct):
    """A turn that is open. `inputs` are the messages that it took; `received` is the unfinished block's text."""

    number: int
    user: Person
    inputs: dict[int, str]
    texts: list[str] = msgspec.field(default_factory=list)
    received: str = ""
    tools: dict[str, events.ToolStarted] = msgspec.field(default_factory=dict)
    calls: int = 0
    steps: tuple[events.PlanStep, ...] = ()
    notes: list[str] = msgspec.field(default_factory=list)


class View:
    """What one thread should show. `fold` and `hear` change it and return what that asks of the thread."""

    def __init__(self, key: SessionKey) -> None:
        self.key = key
        self.lease = 0
        self.turn: Turn | None = None
        self.waiting: dict[int, Waiting] = {}
        self.questions: dict[str, tuple[int, QuestionAsked]] = {}
        self.paused = False
        self.started = False
        self._ended = 0
        self._busy = ""

    @property
    def idle(self) -> bool:
        """Whether nothing is open and nothing waits."""
        return self.turn is None and not self.waiting and not self.questions

    @property
    def session_status(self) -> SessionStatus | None:
        """How Slack should see the session; None before its first input."""
        if self.questions:
            return "suspended"
        if self.turn or (self.waiting and not self.paused):
            return "processing"
        return "active" if self.started else None

    @property
    def status(self) -> str:
        """What the assistant is busy with, in Slack's words; empty when it is not."""
        if self.session_status != "processing":
            return ""
        return self._busy or (BUSY if self.turn else THINKING)

    def fold(self, sequence: int, message: Message | Unknown) -> list[Act]:
        """Take the stored message at `sequence`."""
        handler = _HANDLERS.get(type(message))
        return handler(self, sequence, message) if handler else []

    def hear(self, message: Message | Unknown) -> list[Act]:
        """Take a live message; what comes from an older lease or a turn that ended is dropped."""
        if not isinstance(message, live.Live) or message.turn <= self._ended or message.lease < self.lease:
            return []
        if isinstance(message, live.Status):
            self._busy = message.text
        if isinstance(message, live.TextDelta) and self.turn and self.turn.number == message.turn:
            return self._delta(self.turn, message)
        return []

    # --- inputs -------------------------------------------------------------------------------------------------

    def _said(self, sequence: int, said: Said) -> list[Act]:
        ts = message_ts(said.id)
        self.waiting[sequence] = Waiting(said.id, ts, said.user)
        self.started, self.paused = True, False
        return [React(ts=ts, name=SEEN)] if ts else []

    def _withdrawn(self, _: int, withdrawn: Withdrawn) -> list[Act]:
        self.waiting = {place: one for place, one in self.waiting.items() if one.id != withdrawn.of}
        return []

    def _continued(self, _: int, __: Continued) -> list[Act]:
        self.paused = False
        return []

    # --- a turn's life ------------------------------------------------------------------------------------------

    def _claimed(self, _: int, claimed: events.Claimed) -> list[Act]:
        self.lease = claimed.lease
        if not self.turn or not self.turn.received:
            return []
        # Whoever writes from here on writes the unfinished block from its beginning.
        self.turn.received = ""
        return [Text(turn=self.turn.number, text="", closed=True)]

    def _turn_started(self, _: int, started: events.TurnStarted) -> list[Act]:
        self._busy = ""
        if self.turn and self.turn.number == started.turn:
            return []
        opener = self.waiting.pop(started.turn, None)
        self.turn = Turn(started.turn, opener.user if opener else Person(id=""), {})
        self.started = True
        return self._take(started.turn, opener)

    def _input_taken(self, _: int, taken: events.InputTaken) -> list[Act]:
        return self._take(taken.sequence, self.waiting.pop(taken.sequence, None))

    def _take(self, sequence: int, one: Waiting | None) -> list[Act]:
        if not one or not one.ts or not self.turn:
            return []
        self.turn.inputs[sequence] = one.ts
        return [React(turn=self.turn.number, ts=one.ts, name=WORKING)]

    def _ended_turn(self, _: int, end: TurnEnd) -> list[Act]:
        if end.turn <= self._ended:
            return []
        turn, self._ended, self._busy = self.turn, end.turn, ""
        taken = dict(turn.inputs) if turn else {}
        for place in end.inputs:
            if (one := self.waiting.pop(place, None)) and one.ts:
                taken[place] = one.ts
        self.turn, self.started = None, True
        self.paused = end.outcome == "cancelled" and bool(self.waiting)
        lapsed, self.questions = list(self.questions.values()), {}
        acts: list[Act] = [
            Close(turn=end.turn, asked=asked, question=each, closed=events.QuestionClosed(id=each.id))
            for asked, each in lapsed
        ]
        acts += [React(turn=end.turn, ts=ts, name=LAST_SIGNS[end.outcome]) for ts in taken.values()]
        return [*acts, self._last_word(end, turn)]

    def _last_word(self, end: TurnEnd, turn: Turn | None) -> Act:
        if end.outcome == "rejected":
            return Refuse(turn=end.turn, end=end)
        texts = [*turn.texts, turn.received] if turn else []
        return Finish(
            turn=end.turn,
            end=end,
            text=end.text.strip() or "\n\n".join(filter(None, texts)).strip(),
            notes=tuple(turn.notes) if turn else (),
            tools=turn.calls if turn else 0,
            queued=len(self.waiting),
        )

    # --- what the agent does ------------------------------------------------------------------------------------

    def _delta(self, turn: Turn, delta: live.TextDelta) -> list[Act]:
        have = len(turn.received)
        if delta.block != len(turn.texts) or delta.offset > have:
            return []
        fresh = delta.text[have - delta.offset :]
        turn.received += fresh
        return [Text(turn=turn.number, text=fresh)] if fresh else []

    def _text_block(self, _: int, block: events.TextBlock) -> list[Act]:
        if not (turn := self._open(block)):
            return []
        shown = turn.received if block.text.startswith(turn.received) else ""
        turn.texts.append(block.text)
        turn.received = ""
        return [Text(turn=turn.number, text=block.text[len(shown) :], closed=True)]

    def _tool_started(self, _: int, tool: events.ToolStarted) -> list[Act]:
        if not (turn := self._open(tool)):
            return []
        turn.tools[tool.call] = tool
        turn.calls += 1
        return [
            Card(turn=turn.number, id=tool.call, title=tool.title, status="in_progress", details=tool.detail)
        ]

    def _tool_finished(self, _: int, done: events.ToolFinished) -> list[Act]:
        if not (turn := self._open(done)) or not (tool := turn.tools.pop(done.call, None)):
            return []
        return [
            Card(
                turn=turn.number,
                id=tool.call,
                title=tool.title,
                status="complete" if done.ok else "error",
                details=tool.detail,
                output=done.output,
            )
        ]

    def _plan(self, _: int, plan: events.PlanUpdated) -> list[Act]:
        if not (turn := self._open(plan)):
            return []
        known, turn.steps = turn.steps, plan.steps
        done = sum(step.status == "completed" for step in plan.steps)
        current = next((step.text for step in plan.steps if step.status == "in_progress"), "")
        title = f"Plan, {done} of {len(plan.steps)} done" + (f": {current}" if current else "")
        changed = [
            (place, step)
            for place, step in enumerate(plan.steps)
            if place >= len(known) or known[place] != step
        ]
        return [
            Plan(turn=turn.number, title=title),
            *(
                Card(
                    turn=turn.number,
                    id=f"step-{place}",
                    title=step.text,
                    status="complete" if step.status == "completed" else step.status,
                )
                for place, step in changed
            ),
        ]

    def _asked(self, sequence: int, question: QuestionAsked) -> list[Act]:
        self.questions[question.id] = (sequence, question)
        return [Ask(turn=question.turn, question=question)]

    def _closed(self, _: int, closed: events.QuestionClosed) -> list[Act]:
        asked, question = self.questions.pop(closed.id, (0, None))
        if question is None:
            return []
        return [Close(turn=question.turn, asked=asked, question=question, closed=closed)]

    def _shared(self, _: int, shared: events.FileShared) -> list[Act]:
        return [Share(turn=shared.turn, file=shared.file)]

    def _pushed(self, _: int, pushed: events.CommitPushed) -> list[Act]:
        if not (turn := self._open(pushed)):
            return []
        title = f"Pushed {pushed.sha[:7]} to {pushed.branch}"
        output = f"{pushed.title} ({pushed.files} files, +{pushed.insertions} -{pushed.deletions})"
        return [
            Card(
                turn=turn.number,
                id=f"commit-{pushed.sha[:12]}",
                title=title,
                status="complete",
                output=output,
            )
        ]

    def _notice(self, _: int, notice: events.Notice) -> list[Act]:
        if (turn := self._open(notice)) and notice.level == "info":
            turn.notes.append(notice.text)
            return []
        return [Tell(turn=notice.turn, text=notice.text, level=notice.level)]

    def _titled(self, _: int, titled: events.Titled) -> list[Act]:
        return [Name(title=titled.title)]

    def _open(self, event: events.Event) -> Turn | None:
        return self.turn if self.turn and event.turn == self.turn.number else None


_HANDLERS: dict[type, Any] = {
    Said: View._said,  # noqa: SLF001 (its own table)
    Withdrawn: View._withdrawn,  # noqa: SLF001
    Continued: View._continued,  # noqa: SLF001
    TurnEnd: View._ended_turn,  # noqa: SLF001
    events.Claimed: View._claimed,  # noqa: SLF001
    events.TurnStarted: View._turn_started,  # noqa: SLF001
    events.InputTaken: View._input_taken,  # noqa: SLF001
    events.TextBlock: View._text_block,  # noqa: SLF001
    events.ToolStarted: View._tool_started,  # noqa: SLF001
    events.ToolFinished: View._tool_finished,  # noqa: SLF001
    events.PlanUpdated: View._plan,  # noqa: SLF001
    events.QuestionAsked: View._asked,  # noqa: SLF001
    events.QuestionClosed: View._closed,  # noqa: SLF001
    events.FileShared: View._shared,  # noqa: SLF001
    events.CommitPushed: View._pushed,  # noqa: SLF001
    events.Notice: View._notice,  # noqa: SLF001
    events.Titled: View._titled,  # noqa: SLF001
}


def message_ts(input_id: str) -> str:
    """Return the `ts` of the message that an input's id names, empty where it names none."""
    seconds, _, micros = input_id.partition("-")
    return f"{seconds}.{micros}" if seconds.isdecimal() and micros.isdecimal() else ""
