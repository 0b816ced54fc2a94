"""What needs no process: titles, details, plans, and when a turn is over."""

from pathlib import Path

import msgspec
import pytest
from claude_agent_sdk import AssistantMessage, ResultMessage, SystemMessage, ToolUseBlock
from hypothesis import given
from hypothesis import strategies as st

from services.worker.agents.claude_events import Translator, tool_title
from services.worker.agents.claude_questions import permission
from services.worker.agents.claude_turns import Turn
from services.worker.agents.protocol import Answer, PlanUpdated, ToolStarted

CWD = Path("/workspace")
TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("name", "arguments", "title"),
    [
        ("Bash", {"command": "make   test\n"}, "Bash: make test"),
        ("Write", {"file_path": "/workspace/src/hello.py"}, "Write src/hello.py"),
        ("Read", {"file_path": "/etc/hosts"}, "Read /etc/hosts"),
        ("Grep", {"pattern": "def main"}, "Grep: def main"),
        ("mcp__github__create_issue", {"title": "x"}, "github: create_issue"),
        ("SomethingNew", {"any": "thing"}, "SomethingNew"),
        ("Bash", {}, "Bash"),
    ],
)
def test_a_tool_call_has_a_title_of_one_line(name: str, arguments: dict, title: str):
    assert tool_title(name, arguments, CWD) == title


@given(
    name=st.sampled_from(["Bash", "Write", "TodoWrite", "mcp__a__b", "Other"]),
    arguments=st.dictionaries(TEXT, ANYTHING),
)
def test_any_input_of_a_tool_makes_a_short_event(name: str, arguments: dict):
    call = AssistantMessage(content=[ToolUseBlock("t1", name, arguments)], model="m")
    [event] = Translator(CWD).translate(call, now=0.0)
    assert msgspec.json.encode(event)
    if isinstance(event, ToolStarted):
        assert len(event.title) <= 120
        assert "\n" not in event.title
        assert len(event.detail) <= 2_000


@given(todos=ANYTHING)
def test_a_wrong_plan_is_a_tool_call_like_any_other(todos: object):
    call = AssistantMessage(content=[ToolUseBlock("t1", "TodoWrite", {"todos": todos})], model="m")
    [event] = Translator(CWD).translate(call, now=0.0)
    assert isinstance(event, ToolStarted | PlanUpdated)
    assert msgspec.json.encode(event)


def result(*uuids: str, cost: float = 0.0) -> ResultMessage:
    return ResultMessage(
        subtype="success",
        duration_ms=1,
        duration_api_ms=1,
        is_error=False,
        num_turns=1,
        session_id="s",
        result="/".join(uuids),
        user_message_uuids=list(uuids),
        total_cost_usd=cost,
    )


def state(name: str) -> SystemMessage:
    return SystemMessage("session_state_changed", {"state": name})


@given(groups=st.lists(st.integers(1, 3), min_size=1, max_size=6), data=st.data())
def test_a_turn_is_over_once_and_only_when_all_is_answered(groups: list[int], data: st.DataObject):
    """Claude Code answers prompts in groups, of which each was sent at some moment before its answer."""
    turn, sent, answered, ends = Turn(), 0, 0, 0
    for size in groups:
        answered += size
        ahead = data.draw(st.integers(max(answered, sent), max(sum(groups), sent)))
        for number in range(sent, ahead):
            turn.sent(f"p{number}")
        sent = ahead
        assert turn.received(state("running")) is None
        assert turn.received(result(*(f"p{number}" for number in range(answered - size, answered)))) is None
        assert turn.running
        finished = turn.received(state("idle"))
        assert (finished is not None) == (sent == answered)
        ends += finished.answered if finished else 0
    assert ends == sent == answered
    assert not turn.running
    assert turn.received(state("idle")) is None


def test_a_prompt_on_its_way_keeps_the_turn_open():
    turn = Turn()
    turn.sent("one")
    turn.received(state("running"))
    turn.received(result("one", cost=0.1))
    turn.sent("two")
    assert turn.received(state("idle")) is None
    turn.received(state("running"))
    assert turn.received(result("two", cost=0.3)) is None
    finished = turn.received(state("idle"))
    assert finished is not None
    assert (finished.text, finished.cost_usd, finished.answered) == ("one\n\ntwo", 0.3, 2)


def test_anything_that_is_not_a_yes_is_a_no():
    for answer in (Answer(choice="deny"), Answer(text="yes please"), Answer(choice="Allow_Once"), Answer()):
        assert permission("Bash", answer, []).behavior == "deny"
