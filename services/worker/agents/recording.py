"""A recorded event file: its format, and what is filled in when it is played. Pure but for reading the file."""

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec

from .protocol import (
    AgentError,
    AgentEvent,
    Finished,
    Notice,
    PlanUpdated,
    QuestionAsked,
    TextBlock,
    TextDelta,
    Thinking,
    ToolFinished,
    ToolStarted,
)

DEMO = Path(__file__).with_name("recordings") / "demo.jsonl"


class WriteFile(msgspec.Struct, frozen=True, tag=True):
    """A file that playing the recording really writes; `path` is relative to the workspace."""

    path: str
    text: str


class Step(msgspec.Struct, frozen=True):
    """One line of a recording: an event, `after_ms` milliseconds after the line before it."""

    event: (
        TextDelta
        | TextBlock
        | Thinking
        | ToolStarted
        | ToolFinished
        | PlanUpdated
        | QuestionAsked
        | Notice
        | Finished
        | WriteFile
    )
    after_ms: int = 0


_STEP = msgspec.json.Decoder(Step)


def read_recording(file: Path) -> tuple[Step, ...]:
    """Read a recording of JSON lines; raises `AgentError` when it is missing, malformed, or does not end the turn."""
    try:
        steps = tuple(_STEP.decode_lines(file.read_bytes()))
    except (OSError, ValueError, RecursionError) as e:
        raise AgentError(f"The recording {file} cannot be played: {e}") from e
    if not steps or not isinstance(steps[-1].event, Finished):
        raise AgentError(f"The recording {file} does not end with a Finished event.")
    return steps


def fill(step: Step, values: Mapping[str, str]) -> AgentEvent | WriteFile:
    """Return the step's event with every `{name}` in its texts replaced by the value of that name."""
    return msgspec.convert(_filled(msgspec.to_builtins(step), values), Step).event


def _filled(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return reduce(lambda text, name: text.replace(f"{{{name}}}", values[name]), values, part)
    if isinstance(part, dict):
        return {name: _filled(value, values) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_filled(value, values) for value in part]
    return part
