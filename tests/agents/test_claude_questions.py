"""What Claude Code may not decide alone is asked in the thread, and the answer counts."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import (
    Answer,
    Finished,
    Launch,
    PlanStep,
    PlanUpdated,
    QuestionAsked,
    ToolFinished,
)
from tests.agents.stories import MemoryState, running, say, told
from tests.messages_api import Call, MessagesApi

COLOURS = {
    "questions": [
        {
            "question": "Which colour?",
            "header": "Colour",
            "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}],
            "multiSelect": False,
        }
    ]
}


def asking(launch: Launch) -> Launch:
    return msgspec.structs.replace(launch, permission_mode="ask")


def tool_results(request: dict) -> str:
    return str([message for message in request["messages"] if "tool_result" in str(message)][-1]["content"])


class Tools:
    """The session's tools, remembering what the agent asked for."""

    def __init__(self) -> None:
        self.called: list[tuple[str, ...]] = []

    async def set_title(self, title: str) -> str:
        self.called.append(("set_title", title))
        return "The title is set."

    async def session_info(self) -> str:
        return "You are in #mills."

    async def share_file(self, path: str, comment: str) -> str:
        self.called.append(("share_file", path, comment))
        return "Shared."


async def test_a_command_waits_for_permission_and_runs_once(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("make", *[Call("Bash", {"command": "mkdir one"})] * 2)
    async with running(ClaudeAgent(state), asking(launch)) as (agent, follower):
        await say(agent, "make it")
        first = await follower.until(QuestionAsked)
        assert (first.about, first.title) == ("permission", "Bash: mkdir one")
        assert first.choices == ("allow_once", "allow_session", "deny")
        assert not (launch.cwd / "one").exists()
        assert await agent.answer(first.id, Answer(choice="allow_once"))
        second = await follower.until(QuestionAsked)
        assert (launch.cwd / "one").is_dir()
        assert not await agent.answer(first.id, Answer(choice="allow_once"))
        assert await agent.answer(second.id, Answer(text="No, make two."))
        await follower.until(Finished)

        assert [ended.ok for ended in follower.all(ToolFinished)] == [True, False]
        assert "No, make two." in tool_results(model.requests[-1])


async def test_permission_for_the_session_is_asked_once_and_kept_out_of_the_workspace(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("make", *[Call("Bash", {"command": "mkdir -p one"})] * 3)
    async with running(ClaudeAgent(state), asking(launch)) as (agent, follower):
        await say(agent, "make it")
        question = await follower.until(QuestionAsked)
        await agent.answer(question.id, Answer(choice="allow_session"))
        await follower.until(Finished)

        assert [ended.ok for ended in follower.all(ToolFinished)] == [True] * 3
        assert len(follower.all(QuestionAsked)) == 1
        assert not (launch.cwd / ".claude").exists()


async def test_edits_are_accepted_where_the_policy_says_so(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("a file", Call("Write", {"file_path": str(launch.cwd / "a.txt"), "content": "a"}))
    launch = msgspec.structs.replace(launch, permission_mode="accept-edits")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "Make a file")

        assert (launch.cwd / "a.txt").read_text() == "a"
        assert follower.all(QuestionAsked) == []


@pytest.mark.parametrize("mode", ["ask", "accept-edits", "sandboxed"])
async def test_a_choice_reaches_the_thread_in_every_mode(
    model: MessagesApi, state: MemoryState, launch: Launch, mode: str
):
    model.reply_to("colour", Call("AskUserQuestion", COLOURS))
    launch = msgspec.structs.replace(launch, permission_mode=mode)
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "Choose a colour with me")
        question = await follower.until(QuestionAsked)
        assert (question.about, question.title, question.choices) == (
            "choice",
            "Which colour?",
            ("Red", "Blue"),
        )
        await agent.answer(question.id, Answer(choice="Blue"))
        await follower.until(Finished)

        assert '"Which colour?"="Blue"' in tool_results(model.requests[-1])


async def test_a_plan_waits_for_approval(model: MessagesApi, state: MemoryState, launch: Launch):
    def write_plan(request: Mapping[str, Any]) -> Call:
        [file] = set(re.findall(r"[^\s\"']*/plans/[a-z-]+\.md", json.dumps(request["messages"])))
        return Call("Write", {"file_path": file, "content": "# Build a mill"})

    leave = Call("ExitPlanMode", {})
    model.reply_to("plan", Call("EnterPlanMode", {}), write_plan, leave, leave)
    async with running(ClaudeAgent(state), asking(launch)) as (agent, follower):
        await say(agent, "plan a mill")
        question = await follower.until(QuestionAsked, lambda asked: asked.about != "permission")
        assert (question.about, question.choices) == ("plan", ("approve", "revise"))
        assert "Build a mill" in question.detail
        await agent.answer(question.id, Answer(choice="revise", text="Make it two mills."))
        again = await follower.until(QuestionAsked)
        assert "Make it two mills." in tool_results(model.requests[-1])
        await agent.answer(again.id, Answer(choice="approve"))
        await follower.until(Finished)

        assert "approved" in tool_results(model.requests[-1])


async def test_an_interrupt_withdraws_the_question(model: MessagesApi, state: MemoryState, launch: Launch):
    model.reply_to("make", Call("Bash", {"command": "mkdir one"}))
    async with running(ClaudeAgent(state), asking(launch)) as (agent, follower):
        await say(agent, "make it")
        question = await follower.until(QuestionAsked)
        await agent.interrupt()
        assert (await follower.until(Finished)).stop_reason == "interrupted"

        assert not await agent.answer(question.id, Answer(choice="allow_once"))
        assert not (launch.cwd / "one").exists()


async def test_an_interrupt_withdraws_what_the_agent_asks_itself(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("ask", Call("mcp__threadmill__ask", {"question": "Wind or water?"}))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "ask me")
        question = await follower.until(QuestionAsked)
        await agent.interrupt()
        assert (await follower.until(Finished)).stop_reason == "interrupted"

        assert not await agent.answer(question.id, Answer(text="Wind"))
        assert (await told(agent, follower, "still there?")).text == "You said: still there?"


async def test_the_agent_s_plan_is_shown_as_steps(model: MessagesApi, state: MemoryState, launch: Launch):
    todos = [
        {"content": "Grind", "status": "in_progress", "activeForm": "Grinding"},
        {"content": "Bake", "status": "pending", "activeForm": "Baking"},
    ]
    model.reply_to(
        "bread", Call("ToolSearch", {"query": "select:TodoWrite"}), Call("TodoWrite", {"todos": todos})
    )
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "Make bread")

        [plan] = follower.all(PlanUpdated)
        assert plan.steps == (PlanStep("Grind", "in_progress"), PlanStep("Bake", "pending"))
        assert "modified successfully" in tool_results(model.requests[-1])


async def test_the_session_s_own_tools_are_there_without_asking(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to(
        "introduce",
        Call("mcp__threadmill__session_info", {}),
        Call("mcp__threadmill__set_title", {"title": "Mills"}),
        Call("mcp__threadmill__share_file", {"path": "mill.png", "comment": "Look"}),
        Call("mcp__threadmill__ask", {"question": "Wind or water?", "choices": ["Wind", "Water"]}),
    )
    tools = Tools()
    async with running(ClaudeAgent(state, tools), asking(launch)) as (agent, follower):
        await say(agent, "introduce yourself")
        question = await follower.until(QuestionAsked)
        assert (question.about, question.title, question.choices) == (
            "choice",
            "Wind or water?",
            ("Wind", "Water"),
        )
        await agent.answer(question.id, Answer(choice="Water"))
        await follower.until(Finished)

        assert tools.called == [("set_title", "Mills"), ("share_file", "mill.png", "Look")]
        assert "You are in #mills." in str(model.requests)
        assert "Water" in tool_results(model.requests[-1])
