"""Stopping Claude Code is quick and leaves no process behind, whatever its tools did to get away."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import (
    AgentError,
    Exited,
    Finished,
    Launch,
    Notice,
    TextBlock,
    TextDelta,
    ToolFinished,
)
from tests.agents.stories import (
    Follower,
    MemoryState,
    eventually,
    processes_in,
    running,
    say,
    sleepers,
    told,
    with_environment,
)
from tests.messages_api import Call, Fail, Hang, MessagesApi, Say

RUNAWAYS = """
sleep 301 &
setsid sleep 302 &
nohup sleep 303 >/dev/null 2>&1 &
env -i setsid setsid sleep 304 >/dev/null 2>&1 &
sleep 300
"""


async def run_away(agent: ClaudeAgent, launch: Launch, model: MessagesApi) -> None:
    model.reply_to("run away", Call("Bash", {"command": RUNAWAYS}))
    await say(agent, "run away")
    await eventually(lambda: len(sleepers(launch)) == 5)


async def test_an_interrupt_during_a_tool_kills_all_that_the_tool_started(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await run_away(agent, launch, model)
        begin = time.monotonic()
        await agent.interrupt()
        finished = await follower.until(Finished)

        assert time.monotonic() - begin < 5
        assert (finished.ok, finished.stop_reason) == (False, "interrupted")
        assert sleepers(launch) == []
        assert [ended.ok for ended in follower.all(ToolFinished)] == [False]
        assert (await told(agent, follower, "still there?")).text == "You said: still there?"


async def test_an_interrupt_during_a_text_ends_the_turn(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "slow")
        await follower.until(TextDelta)
        begin = time.monotonic()
        await agent.interrupt()
        finished = await follower.until(Finished)

        assert time.monotonic() - begin < 5
        assert finished.stop_reason == "interrupted"


async def test_an_interrupt_while_the_model_does_not_answer(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("anyone", Hang())
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "anyone there?")
        await model.received(1)
        await agent.interrupt()

        assert (await follower.until(Finished)).stop_reason == "interrupted"


async def test_an_interrupt_drops_what_was_queued_but_not_what_is_said_after_it(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("first", Say("one two three four", pieces=40, pause=0.2))
    model.reply_to("second", Say("never to be finished", pieces=20, pause=0.2))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "first")
        await follower.until(TextDelta)
        await say(agent, "second")
        await agent.interrupt()
        await say(agent, "third")

        assert (await follower.until(Finished)).stop_reason == "interrupted"
        assert (await follower.until(Finished)).text == "You said: third"


async def test_an_interrupt_right_after_the_input(model: MessagesApi, state: MemoryState, launch: Launch):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "slow")
        await agent.interrupt()
        await asyncio.wait_for(follower.until(Finished), 5)

        assert (await told(agent, follower, "and now?")).text == "You said: and now?"


async def test_an_interrupt_between_turns_does_nothing(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "one")
        await agent.interrupt()

        assert (await told(agent, follower, "two")).ok
        assert [finished.ok for finished in follower.all(Finished)] == [True, True]


@pytest.mark.parametrize("busy", [True, False])
async def test_closing_waits_for_nothing_and_leaves_nothing(
    model: MessagesApi, state: MemoryState, launch: Launch, busy: bool
):
    agent = ClaudeAgent(state)
    await agent.start(launch)
    if busy:
        await run_away(agent, launch, model)
    else:
        await told(agent, Follower(agent), "hello")
    begin = time.monotonic()
    await agent.close()

    assert time.monotonic() - begin < 5
    assert (sleepers(launch), processes_in(launch)) == ([], [])
    await agent.close()


async def test_closing_does_not_wait_for_a_store_that_is_away(
    model: MessagesApi, state: MemoryState, launch: Launch, monkeypatch: pytest.MonkeyPatch
):
    asked = asyncio.Event()

    async def hang(*_: object) -> None:
        asked.set()
        await asyncio.sleep(100)

    monkeypatch.setattr(state, "append", hang)
    agent = ClaudeAgent(state)
    await agent.start(launch)
    await say(agent, "hello")
    await asyncio.wait_for(asked.wait(), 10)
    begin = time.monotonic()
    await agent.close()

    assert time.monotonic() - begin < 5
    assert not agent.state_complete
    assert processes_in(launch) == []


async def test_a_killed_claude_code_is_told_and_takes_its_tools_along(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await run_away(agent, launch, model)
        [claude] = [each for each in processes_in(launch) if Path(each.exe()).name == "claude"]
        os.kill(claude.pid, signal.SIGKILL)

        exited = await follower.until(Exited)
        await follower.to_the_end()
        assert exited.reason.startswith("Claude Code has ended")
        assert (sleepers(launch), processes_in(launch)) == ([], [])
        with pytest.raises(AgentError, match="not running"):
            await say(agent, "hello?")


async def test_a_killed_supervisor_takes_all_along(model: MessagesApi, state: MemoryState, launch: Launch):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        model.reply_to("nap", Call("Bash", {"command": "setsid nohup sleep 300 & sleep 301"}))
        await say(agent, "nap")
        await eventually(lambda: len(sleepers(launch)) == 2)
        [supervisor] = [each for each in processes_in(launch) if "supervisor.py" in " ".join(each.cmdline())]
        os.kill(supervisor.pid, signal.SIGKILL)

        await follower.until(Exited)
        assert (sleepers(launch), processes_in(launch)) == ([], [])


async def test_an_overloaded_model_is_told_and_then_ends_the_turn(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("busy?", *[Fail(529)] * 9)
    launch = with_environment(launch, CLAUDE_CODE_MAX_RETRIES="1")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        finished = await told(agent, follower, "busy?")

        assert (finished.ok, finished.stop_reason) == (False, "api_error")
        assert "529" in finished.text
        assert next(notice.text for notice in follower.all(Notice)).startswith(
            "The model's API does not answer (529)"
        )
        assert follower.all(TextBlock) == []


async def test_an_unreachable_model_ends_the_turn(state: MemoryState, launch: Launch):
    launch = with_environment(launch, CLAUDE_CODE_MAX_RETRIES="0", ANTHROPIC_BASE_URL="http://127.0.0.1:9")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        finished = await told(agent, follower, "anyone?")

        assert (finished.ok, finished.stop_reason) == (False, "api_error")
