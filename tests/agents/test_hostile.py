"""Whatever an agent says: what can be told is told, one odd message costs itself alone, and the turn has its end."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from acp.schema import SessionNotification
from claude_agent_sdk import ClaudeSDKError, Message
from claude_agent_sdk._internal.message_parser import parse_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.ends import TurnEnd
from schemas.events import EVENTS, Event
from schemas.inputs import Said
from schemas.live import LIVES
from schemas.people import Person
from services.runtime.fit import fitting
from services.runtime.redact import SHAPES
from services.worker.agents import acp_events, claude_events
from services.worker.agents.claude_turns import Turn
from services.worker.agents.protocol import (
    AgentError,
    AgentEvent,
    Finished,
    Launch,
    Prompt,
    QuestionAsked,
    TextDelta,
)
from services.worker.agents.questions import Questions
from services.worker.agents.recorded import RecordedAgent
from services.worker.core import Attempted, Waiting
from services.worker.narrate import Narrator
from services.worker.tally import Ending, Tally
from tests.agents.stories import MemoryState
from tests.mutations import mutated

OPENER = Waiting(sequence=1, said=Said(id="m", user=Person(id="U1"), text="go"))
COMMON = {"uuid": "u", "session_id": "s", "parent_tool_use_id": None}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "make", "more": {"a": [1]}}}
TODOS = [{"content": "one", "status": "pending", "activeForm": "doing one"}]
CLAUDE: list[dict[str, Any]] = [
    COMMON
    | {
        "type": "assistant",
        "message": {
            "model": "m",
            "content": [
                {"type": "text", "text": "hello"},
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                TOOL_USE,
                TOOL_USE | {"id": "t2", "name": "TodoWrite", "input": {"todos": TODOS}},
            ],
        },
    },
    COMMON
    | {
        "type": "user",
        "message": {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": False,
                    "content": [{"type": "text", "text": "ok"}, {"type": "image"}],
                }
            ],
        },
    },
    COMMON
    | {
        "type": "stream_event",
        "event": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "he"}},
    },
    COMMON
    | {
        "type": "system",
        "subtype": "api_retry",
        "error_status": 529,
        "retry_delay_ms": 1000,
        "attempt": 1,
        "max_retries": 10,
    },
    COMMON | {"type": "system", "subtype": "session_state_changed", "state": "running"},
    COMMON | {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1}},
]
RESULT: dict[str, Any] = COMMON | {
    "type": "result",
    "subtype": "success",
    "duration_ms": 1,
    "duration_api_ms": 1,
    "is_error": False,
    "num_turns": 1,
    "result": "done",
    "errors": ["one"],
    "total_cost_usd": 0.5,
    "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3},
    "user_message_uuids": ["p"],
    "terminal_reason": "completed",
    "stop_reason": "end_turn",
}
CALL = {"toolCallId": "t1", "title": "Run", "kind": "execute", "rawInput": {"command": "make"}}
UPDATES: list[dict[str, Any]] = [
    {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "hello"}},
    {"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": "hm"}},
    CALL | {"sessionUpdate": "tool_call", "status": "pending"},
    CALL
    | {
        "sessionUpdate": "tool_call_update",
        "status": "completed",
        "content": [{"type": "content", "content": {"type": "text", "text": "ok"}}],
    },
    {
        "sessionUpdate": "plan",
        "entries": [{"content": "one", "priority": "high", "status": "pending"}],
    },
    {"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": {"amount": 0.5, "currency": "USD"}},
]


def read(line: bytes) -> Any:
    """What Python's JSON makes of a line of an agent, None where that is nothing."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def claude(line: bytes) -> Message | None:
    try:
        return parse_message(read(line))
    except (
        ClaudeSDKError,
        TypeError,
        AttributeError,
    ):  # what the SDK itself refuses ends the agent in one sentence
        return None


def tell(events: Iterable[AgentEvent]) -> None:
    """Everything that is told can be stored and read."""
    narrator = Narrator(1, SHAPES)
    for event in events:
        told = narrator.delta(event, 7) if isinstance(event, TextDelta) else narrator.tell(event)
        if told is not None:
            family = EVENTS if isinstance(told, Event) else LIVES
            assert type(family.decode(fitting(told).encode())) is type(told)


@given(st.lists(st.sampled_from(CLAUDE).flatmap(mutated), min_size=1, max_size=4))
def test_what_claude_code_says_oddly_is_told_as_far_as_it_goes(lines: list[bytes]) -> None:
    translator, turn = claude_events.Translator(Path("/w")), Turn()
    turn.sent("p")
    for message in filter(None, map(claude, [json.dumps(CLAUDE[0]).encode(), *lines])):
        tell(translator.translate(message, now=0.0))
        assert turn.received(message) is None
    tell(translator.translate(claude(json.dumps(CLAUDE[1]).encode()), now=1.0))


@given(mutated(RESULT))
def test_an_odd_result_of_claude_code_ends_the_turn_with_an_end_that_can_be_read(line: bytes) -> None:
    turn = Turn()
    turn.sent("p")
    said = filter(None, map(claude, [line, json.dumps(RESULT).encode()]))
    ends = [finished for finished in map(turn.received, said) if finished]
    assert ends
    for finished in ends:
        assert_ends(finished)


def assert_ends(finished: Finished) -> None:
    tally = Tally(Attempted())
    tally.add(finished)
    reason = "" if finished.ok else finished.text
    ending = Ending(reason=reason, stop_reason=finished.stop_reason)
    end = fitting(tally.end(OPENER, ending, (1,), ()))
    assert TurnEnd.decode(end.encode()).turn == 1


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0, 1e308])
def test_a_cost_that_is_no_amount_keeps_no_turn_from_its_end(cost: float) -> None:
    assert_ends(Finished(ok=True, text="done", stop_reason="end_turn", cost_usd=cost))


@given(st.lists(st.sampled_from(UPDATES).flatmap(mutated), min_size=1, max_size=4))
def test_what_an_acp_agent_says_oddly_is_told_as_far_as_it_goes(lines: list[bytes]) -> None:
    translator = acp_events.Translator()
    for line in [json.dumps(UPDATES[2]).encode(), *lines]:
        try:
            update = SessionNotification.model_validate({"sessionId": "s", "update": read(line)}).update
        except (ValidationError, RecursionError):
            continue
        tell(translator.translate(update, now=0.0))
    tell(translator.flush())
    assert_ends(Finished(ok=True, text="", stop_reason="end_turn", cost_usd=translator.cost))


async def test_what_is_no_question_is_not_asked() -> None:
    asked: list[QuestionAsked] = []

    async def publish(question: QuestionAsked) -> None:
        asked.append(question)

    with pytest.raises(ValueError, match="Expected `str`"):
        await Questions(publish).ask(QuestionAsked(id="q", about="choice", title=7))  # type: ignore[arg-type]
    assert asked == []


STEPS: list[dict[str, Any]] = [
    {"event": {"type": "TextBlock", "text": "on {prompt}"}},
    {"event": {"type": "WriteFile", "path": "a.txt", "text": "{turn}"}},
    {"event": {"type": "ToolStarted", "call": "c", "name": "n", "title": "t"}},
    {"event": {"type": "PlanUpdated", "steps": [{"text": "one", "status": "pending"}]}},
    {"event": {"type": "Finished", "ok": True, "text": "done", "stop_reason": "end_turn"}},
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(STEPS) - 1).flatmap(lambda n: st.tuples(st.just(n), mutated(STEPS[n]))))
async def test_an_odd_recording_is_refused_or_ends_its_turn(tmp_path: Path, odd: tuple[int, bytes]) -> None:
    place, line = odd
    lines = [json.dumps(step).encode() for step in STEPS]
    lines[place] = line
    recording = tmp_path / "recording.jsonl"
    recording.write_bytes(b"\n".join(lines))
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    try:
        agent = RecordedAgent(MemoryState(), recording, speed=0)
    except AgentError:
        return
    await agent.start(Launch(cwd=workspace, home=tmp_path, env={}, permission_mode="sandboxed"))
    await agent.send(Prompt(id="p", text="go"))
    async with asyncio.timeout(10):
        async for event in agent.events():
            if isinstance(event, Finished):
                assert_ends(event)
                break
    await agent.close()
