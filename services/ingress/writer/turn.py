"""Folds what the agent of one turn does into live text, cards and the last word. Pure."""

from typing import Any

import msgspec

from schemas import events, live
from schemas.ends import TurnEnd
from schemas.people import Person
from services.ingress.writer.acts import STEP, Act, Card, Finish, Plan, Text


class Turn(msgspec.Struct):
    """A turn that is open. `inputs` are the `ts` of the messages that it took, by their place in the log."""

    number: int
    user: Person
    inputs: dict[int, str] = msgspec.field(default_factory=dict)
    # The finished blocks of text, and what is known of the one that is being written.
    texts: list[str] = msgspec.field(default_factory=list)
    received: str = ""
    tools: dict[str, events.ToolStarted] = msgspec.field(default_factory=dict)
    calls: int = 0
    steps: tuple[events.PlanStep, ...] = ()
    notes: list[str] = msgspec.field(default_factory=list)

    def fold(self, event: events.Event) -> list[Act]:
        """Take something that the agent did."""
        handler = _HANDLERS.get(type(event))
        return handler(self, event) if handler else []

    def hear(self, delta: live.TextDelta) -> list[Act]:
        """Take a piece of the block that is being written; after a gap the stored block tells the rest."""
        have = len(self.received)
        if delta.block != len(self.texts) or delta.offset > have:
            return []
        fresh = delta.text[have - delta.offset :]
        self.received += fresh
        return [Text(turn=self.number, text=fresh)] if fresh else []

    def taken_over(self) -> list[Act]:
        """Somebody else writes from here on, an unfinished block from its beginning."""
        text, self.received = self.received, ""
        return [*([Text(turn=self.number, text="", closed=True)] if text else []), *self.cut_short()]

    def cut_short(self) -> list[Act]:
        """Whoever ran these tools is gone: their cards are over."""
        tools, self.tools = self.tools, {}
        return [
            self._card(tool.call, tool.title or tool.name, "error", details=tool.detail)
            for tool in tools.values()
        ]

    def finish(self, end: TurnEnd, queued: int) -> Finish:
        """Return the turn's last word; `queued` is how many messages wait behind it."""
        told = "\n\n".join(filter(None, (*self.texts, self.received)))
        return Finish(
            turn=self.number,
            end=end,
            text=end.text.strip() or told.strip(),
            notes=tuple(self.notes),
            tools=self.calls,
            queued=queued,
        )

    def _text(self, block: events.TextBlock) -> list[Act]:
        known, self.received = self.received, ""
        self.texts.append(block.text)
        if block.text.startswith(known):
            return [Text(turn=self.number, text=block.text[len(known) :], closed=True)]
        # What was heard is not what was written: the block stands whole below it.
        return [
            Text(turn=self.number, text="", closed=True),
            Text(turn=self.number, text=block.text, closed=True),
        ]

    def _tool_started(self, tool: events.ToolStarted) -> list[Act]:
        self.tools[tool.call] = tool
        self.calls += 1
        return [self._card(tool.call, tool.title or tool.name, "in_progress", details=tool.detail)]

    def _tool_finished(self, done: events.ToolFinished) -> list[Act]:
        tool = self.tools.pop(done.call, None)
        if tool is None:
            return []
        status = "complete" if done.ok else "error"
        title = tool.title or tool.name
        return [self._card(tool.call, title, status, details=tool.detail, output=done.output)]

    def _plan(self, plan: events.PlanUpdated) -> list[Act]:
        known, self.steps = self.steps, plan.steps
        done = sum(step.status == "completed" for step in plan.steps)
        current = next((step.text for step in plan.steps if step.status == "in_progress"), "")
        title = f"Plan, {done} of {len(plan.steps)} done" + (f": {current}" if current else "")
        changed = [
            self._card(f"{STEP}{place}", step.text, "complete" if step.status == "completed" else step.status)
            for place, step in enumerate(plan.steps)
            if place >= len(known) or known[place] != step
        ]
        return [Plan(turn=self.number, title=title), *changed]

    def _pushed(self, pushed: events.CommitPushed) -> list[Act]:
        title = f"Pushed {pushed.sha[:7]} to {pushed.branch}"
        output = f"{pushed.title} ({pushed.files} files, +{pushed.insertions} -{pushed.deletions})"
        return [self._card(f"commit-{pushed.sha[:12]}", title, "complete", output=output)]

    def _card(self, name: str, title: str, status: Any, **more: str) -> Card:
        return Card(turn=self.number, id=name, title=title, status=status, **more)


_HANDLERS: dict[type, Any] = {
    events.TextBlock: Turn._text,  # noqa: SLF001 (its own table)
    events.ToolStarted: Turn._tool_started,  # noqa: SLF001 (its own table)
    events.ToolFinished: Turn._tool_finished,  # noqa: SLF001 (its own table)
    events.PlanUpdated: Turn._plan,  # noqa: SLF001 (its own table)
    events.CommitPushed: Turn._pushed,  # noqa: SLF001 (its own table)
}
