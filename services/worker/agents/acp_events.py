"""Turns an ACP agent's updates into our events: pure, one update in, events out."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from acp.schema import (
    AgentMessageChunk,
    AgentPlanUpdate,
    AgentThoughtChunk,
    PromptResponse,
    TextContentBlock,
    ToolCallProgress,
    ToolCallStart,
    ToolCallUpdate,
    Usage,
    UsageUpdate,
)

from . import protocol
from .protocol import PERMISSION_CHOICES, AgentEvent
from .trim import DETAIL_CHARACTERS, OUTPUT_CHARACTERS, TITLE_CHARACTERS, number, shorten, told, valid

ENDED = ("completed", "failed")
INTERRUPTED = "interrupted"


class Translator:
    """Puts chunks together, and remembers which tool calls are open and since when.

    `cost` is what the agent says the session has cost so far, in USD.
    """

    def __init__(self) -> None:
        self.cost = 0.0
        self._text = ""
        self._thought = ""
        self._message: str | None = None
        self._announced: dict[str, ToolCallStart] = {}
        self._started: dict[str, float] = {}

    def translate(self, update: Any, now: float) -> list[AgentEvent]:
        """Return the events of `update`, received at monotonic time `now` in seconds."""
        return told(update, lambda: self._events(update, now))

    def _events(self, update: Any, now: float) -> Iterator[AgentEvent]:
        if isinstance(update, AgentMessageChunk | AgentThoughtChunk):
            yield from self._chunk(update)
        elif isinstance(update, ToolCallStart):
            self._announced[update.tool_call_id] = update
            yield from self._call(update, now)
        elif isinstance(update, ToolCallProgress):
            yield from self._call(update, now)
        elif isinstance(update, AgentPlanUpdate):
            yield protocol.PlanUpdated(
                tuple(protocol.PlanStep(valid(each.content), each.status) for each in update.entries)
            )
        elif isinstance(update, UsageUpdate) and update.cost is not None and update.cost.currency == "USD":
            self.cost = number(update.cost.amount)

    def flush(self) -> Iterator[AgentEvent]:
        """Yield the block of text that is complete now."""
        if self._thought.strip():
            yield protocol.Thinking(self._thought)
        if self._text.strip():
            yield protocol.TextBlock(self._text)
        self._text = self._thought = ""

    def _chunk(self, update: AgentMessageChunk | AgentThoughtChunk) -> Iterator[AgentEvent]:
        if not isinstance(update.content, TextContentBlock):
            return
        if update.message_id != self._message:
            yield from self.flush()
            self._message = update.message_id
        text = valid(update.content.text)
        if isinstance(update, AgentThoughtChunk):
            self._thought += text
        else:
            self._text += text
            yield protocol.TextDelta(text)

    def _call(self, update: ToolCallStart | ToolCallProgress, now: float) -> Iterator[AgentEvent]:
        """Tell a call's start when its input is known, at its end at the latest: agents announce calls before."""
        call = update.tool_call_id
        ended = update.status in ENDED
        yield from self.flush()
        if call in self._announced and (update.raw_input or ended):
            self._started[call] = now
            yield _tool_started(update, self._announced.pop(call))
        if ended and call in self._started:
            seconds = now - self._started.pop(call)
            yield protocol.ToolFinished(
                call=call,
                ok=update.status == "completed",
                duration_ms=round(seconds * 1000),
                output=shorten(_output(update), OUTPUT_CHARACTERS),
            )


def finished(response: PromptResponse, text: str) -> protocol.Finished:
    """Return the end of one prompt as the agent's response tells it."""
    usage = response.usage or Usage(total_tokens=0, input_tokens=0, output_tokens=0)
    return protocol.Finished(
        ok=response.stop_reason == "end_turn",
        text=text,
        stop_reason=INTERRUPTED if response.stop_reason == "cancelled" else response.stop_reason,
        usage=protocol.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_read_tokens or 0,
            cache_write_tokens=usage.cached_write_tokens or 0,
        ),
    )


def merged(ends: Sequence[protocol.Finished], *, cost_usd: float, answered: int) -> protocol.Finished:
    """Return the end of a turn that answered several prompts, one after the other."""
    return protocol.Finished(
        ok=ends[-1].ok,
        text="\n\n".join(end.text for end in ends if end.text),
        stop_reason=ends[-1].stop_reason,
        usage=protocol.Usage(
            input_tokens=sum(end.usage.input_tokens for end in ends),
            output_tokens=sum(end.usage.output_tokens for end in ends),
            cache_read_tokens=sum(end.usage.cache_read_tokens for end in ends),
            cache_write_tokens=sum(end.usage.cache_write_tokens for end in ends),
        ),
        cost_usd=cost_usd,
        answered=answered,
    )


def permission_question(question: str, call: ToolCallUpdate) -> protocol.QuestionAsked:
    """Return the question whether a tool call may run."""
    given = json.dumps(call.raw_input, ensure_ascii=False) if call.raw_input else _output(call)
    return protocol.QuestionAsked(
        id=question,
        about="permission",
        title=shorten(" ".join((call.title or call.kind or "A tool call").split()), TITLE_CHARACTERS),
        detail=shorten(given, DETAIL_CHARACTERS),
        choices=PERMISSION_CHOICES,
    )


def _tool_started(update: ToolCallStart | ToolCallProgress, announced: ToolCallStart) -> protocol.ToolStarted:
    title = " ".join((update.title or announced.title).split())
    given = update.raw_input or announced.raw_input
    return protocol.ToolStarted(
        call=update.tool_call_id,
        name=update.kind or announced.kind or "other",
        title=shorten(title, TITLE_CHARACTERS),
        detail=shorten(json.dumps(given, ensure_ascii=False), DETAIL_CHARACTERS) if given else "",
    )


def _output(update: ToolCallStart | ToolCallUpdate) -> str:
    texts = [getattr(getattr(each, "content", None), "text", None) for each in update.content or ()]
    return "\n".join(text for text in texts if text)
