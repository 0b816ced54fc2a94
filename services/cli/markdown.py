"""A session's log as Markdown, for a pull request or a wiki: pure."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from schemas import events, inputs
from schemas.base import Message, Unknown
from schemas.ends import TurnEnd


def part(message: Message | Unknown | None, at: datetime) -> str | None:
    """Return one message as a paragraph, None when there is nothing to read."""
    tell = TELL.get(type(message))
    return tell(message, f"{at.astimezone():%d %b %Y %H:%M}") if tell else None


def _quote(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _said(said: inputs.Said) -> str:
    files = [f"> - `{file.name.replace('`', '')}`" for file in said.files]
    return "\n".join([_quote(said.text), *(["> Attached:", *files] if files else [])])


def _end(end: TurnEnd, at: str) -> str:
    cost = f", {end.cost_usd:.4f} USD" if end.cost_usd else ""
    reason = f": {end.reason}" if end.reason else ""
    return f"*{end.outcome}{reason} after {end.duration_ms / 1000:.1f} s{cost}, {at}*"


TELL: dict[type, Callable[[Any, str], str]] = {
    inputs.Said: lambda said, at: f"## {said.user.name or said.user.id}, {at}\n\n{_said(said)}",
    inputs.Answered: lambda said, _: (
        f"**{said.user.name or said.user.id}** answered: {said.choice or said.text}"
    ),
    inputs.Stop: lambda stop, _: f"**{stop.user.name or stop.user.id}** stopped it.",
    events.TextBlock: lambda block, _: block.text,
    events.ToolStarted: lambda tool, _: f"- `{tool.title.replace('`', '')}`",
    events.QuestionAsked: lambda asked, _: f"**{asked.title}** {' / '.join(asked.choices)}",
    events.CommitPushed: lambda commit, _: (
        f"- commit `{commit.sha[:8]}` on `{commit.branch}`: {commit.title}"
    ),
    events.Notice: lambda notice, _: f"*{notice.text}*",
    events.Paused: lambda _, __: "*What was said waits for Continue.*",
    TurnEnd: _end,
}
