"""Turns Claude Code's messages into our events: pure, one message in, events out."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    RateLimitEvent,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from . import protocol
from .protocol import AgentEvent, PlanStatus
from .trim import DETAIL_CHARACTERS, OUTPUT_CHARACTERS, TITLE_CHARACTERS, shorten, told, valid

PLAN_TOOL = "TodoWrite"
STATUS: Mapping[str, PlanStatus] = {each: each for each in get_args(PlanStatus)}
TITLE_INPUTS = {
    "Agent": "description",
    "Bash": "command",
    "Edit": "file_path",
    "Glob": "pattern",
    "Grep": "pattern",
    "NotebookEdit": "notebook_path",
    "Read": "file_path",
    "Skill": "skill",
    "Task": "description",
    "ToolSearch": "query",
    "WebFetch": "url",
    "WebSearch": "query",
    "Write": "file_path",
}


class Translator:
    """Remembers what a single message does not tell: which tool calls are open and since when."""

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._started: dict[str, float] = {}

    def translate(self, message: Message, now: float) -> list[AgentEvent]:
        """Return the events of `message`, received at monotonic time `now` in seconds."""
        return told(message, lambda: self._events(message, now))

    def _events(self, message: Message, now: float) -> Iterator[AgentEvent]:
        if isinstance(message, StreamEvent):
            yield from _delta(message)
        elif isinstance(message, AssistantMessage):
            yield from self._said(message, now)
        elif isinstance(message, UserMessage):
            yield from self._tool_results(message, now)
        elif notice := _notice(message):
            yield protocol.Notice(notice)

    def _said(self, message: AssistantMessage, now: float) -> Iterator[AgentEvent]:
        by_main_agent = message.parent_tool_use_id is None and message.error is None
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                yield self._tool_call(block, now)
            elif isinstance(block, TextBlock) and by_main_agent and block.text.strip():
                yield protocol.TextBlock(valid(block.text))
            elif isinstance(block, ThinkingBlock) and by_main_agent and block.thinking.strip():
                yield protocol.Thinking(valid(block.thinking))

    def _tool_call(self, block: ToolUseBlock, now: float) -> AgentEvent:
        if block.name == PLAN_TOOL and (steps := _plan(block.input)):
            return protocol.PlanUpdated(steps)
        self._started[block.id] = now
        return protocol.ToolStarted(
            call=block.id,
            name=block.name,
            title=tool_title(block.name, block.input, self._cwd),
            detail=tool_detail(block.input),
        )

    def _tool_results(self, message: UserMessage, now: float) -> Iterator[AgentEvent]:
        for block in message.content:
            if isinstance(block, ToolResultBlock) and block.tool_use_id in self._started:
                seconds = now - self._started.pop(block.tool_use_id)
                yield protocol.ToolFinished(
                    call=block.tool_use_id,
                    ok=not block.is_error,
                    duration_ms=round(seconds * 1000),
                    output=shorten(_text_of(block.content), OUTPUT_CHARACTERS),
                )


def tool_title(name: str, arguments: Mapping[str, Any], cwd: Path) -> str:
    """Return one line that says what a tool call does, such as `Bash: make test` or `Write hello.py`."""
    if name.startswith("mcp__"):
        return shorten(": ".join(name.split("__")[1:]), TITLE_CHARACTERS)
    field = TITLE_INPUTS.get(name)
    value = " ".join(str(arguments.get(field, "")).split()) if field else ""
    if field is None or not value:
        return shorten(name, TITLE_CHARACTERS)
    if field.endswith("_path"):
        return shorten(f"{name} {value.removeprefix(f'{cwd}/')}", TITLE_CHARACTERS)
    return shorten(f"{name}: {value}", TITLE_CHARACTERS)


def tool_detail(arguments: Mapping[str, Any]) -> str:
    """Return a tool call's input as people read it, shortened: a line for each argument, a command as it is."""
    lines = [f"{name}: {_words(value)}" for name, value in arguments.items() if name != "command"]
    return shorten(
        "\n".join([*map(_words, filter(None, [arguments.get("command")])), *lines]), DETAIL_CHARACTERS
    )


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _delta(message: StreamEvent) -> Iterator[AgentEvent]:
    delta = message.event.get("delta", {})
    if message.parent_tool_use_id is None and delta.get("type") == "text_delta":
        yield protocol.TextDelta(valid(delta["text"]))


def _plan(arguments: Mapping[str, Any]) -> tuple[protocol.PlanStep, ...]:
    try:
        return tuple(
            protocol.PlanStep(valid(str(todo["content"])), STATUS[todo["status"]])
            for todo in arguments["todos"]
        )
    except (KeyError, TypeError):
        return ()  # the model got the tool's input wrong; Claude Code tells it


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "\n".join(block.get("text", f"[{block.get('type')}]") for block in content)
    return content or ""


def _notice(message: Message) -> str | None:
    if isinstance(message, RateLimitEvent) and message.rate_limit_info.status == "rejected":
        return "The model's rate limit is reached; the agent goes on when it resets."
    if not isinstance(message, SystemMessage):
        return None
    if message.subtype == "api_retry":
        data = message.data
        status = data.get("error_status") or "unreachable"
        seconds = data.get("retry_delay_ms", 0) / 1000
        attempt = f"{data.get('attempt')} of {data.get('max_retries')}"
        return f"The model's API does not answer ({status}); try {attempt} follows in {seconds:.1f} s."
    if message.subtype == "compact_boundary":
        return "The conversation grew long; the agent has summarized it and goes on."
    return None
