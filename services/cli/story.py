"""A session's log as lines for a terminal: pure."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.markup import escape

from schemas import events, inputs
from schemas.base import MalformedMessage, Message, Unknown
from schemas.ends import ENDS, TurnEnd
from schemas.events import EVENTS
from schemas.inputs import CONTROLS, INPUTS
from schemas.people import Person

FAMILIES = {"in": INPUTS, "control": CONTROLS, "out": EVENTS, "end": ENDS}
COLOURS = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "timed_out": "red",
    "rejected": "yellow",
}


def message_of(subject: str, payload: bytes) -> Message | Unknown | None:
    """Return the message of a session's subject; None for what people do not read."""
    family = FAMILIES.get(subject.split(".")[4])
    try:
        return family.decode(payload) if family else None
    except MalformedMessage:
        return None


def line(message: Message | Unknown | None, at: datetime) -> str | None:
    """Return one message as a line of rich markup, None when there is nothing to see."""
    tell = TELL.get(type(message))
    return f"[dim]{at.astimezone():%H:%M:%S}[/dim] {tell(message)}" if tell else None


def _who(person: Person) -> str:
    return escape(person.name or person.id)


def _attached(said: inputs.Said) -> str:
    names = ", ".join(file.name for file in said.files)
    return f" [dim](attached: {escape(names)})[/dim]" if names else ""


def _end(end: TurnEnd) -> str:
    colour = COLOURS[end.outcome]
    cost = f", {end.cost_usd:.4f} USD" if end.cost_usd else ""
    reason = f" ({escape(end.reason)})" if end.reason else ""
    return f"[{colour}]{end.outcome}[/{colour}]{reason} [dim]{end.duration_ms / 1000:.1f} s{cost}[/dim]"


def _started(started: events.TurnStarted) -> str:
    return f"[dim]the agent {started.agent} works on {started.worker}{', resumed' if started.resumed else ''}[/dim]"


def _finished(tool: events.ToolFinished) -> str:
    return f"[dim]{'✓' if tool.ok else '✗'} {tool.duration_ms / 1000:.1f} s[/dim]"


def _commit(commit: events.CommitPushed) -> str:
    return f"[green]● {escape(commit.branch)} {commit.sha[:8]}[/green] {escape(commit.title)}"


TELL: dict[type, Callable[[Any], str]] = {
    inputs.Said: lambda said: (
        f"[bold cyan]{_who(said.user)}[/bold cyan] {escape(said.text)}{_attached(said)}"
    ),
    inputs.Answered: lambda said: (
        f"[cyan]{_who(said.user)} answered[/cyan] {escape(said.choice or said.text)}"
    ),
    inputs.Stop: lambda stop: f"[red]stop[/red] by {_who(stop.user)}",
    events.TurnStarted: _started,
    events.TextBlock: lambda block: escape(block.text),
    events.ToolStarted: lambda tool: f"[magenta]▸ {escape(tool.title)}[/magenta]",
    events.ToolFinished: _finished,
    events.QuestionAsked: lambda asked: (
        f"[yellow]? {escape(asked.title)}[/yellow] {escape(' / '.join(asked.choices))}"
    ),
    events.CommitPushed: _commit,
    events.Notice: lambda notice: f"[yellow]! {escape(notice.text)}[/yellow]",
    events.Paused: lambda _: "[dim]what was said waits for Continue[/dim]",
    events.HandedOver: lambda over: f"[dim]handed over: {escape(over.reason)}[/dim]",
    TurnEnd: _end,
}
