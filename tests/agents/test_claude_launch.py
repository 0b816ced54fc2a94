"""What Claude Code is given: its environment and nothing else, its instructions, its budget."""

import msgspec
import pytest

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import AgentError, Finished, Launch
from tests.agents.stories import MemoryState, running, say, told, with_environment
from tests.messages_api import Call, Hang, MessagesApi


async def test_nothing_of_our_own_environment_reaches_the_agent(
    model: MessagesApi, state: MemoryState, launch: Launch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NATS_TOKEN", "secret-of-ours")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "secret-of-ours")
    monkeypatch.setenv("BASH_FUNC_f%%", "() { echo secret-of-ours; }")
    model.reply_to("environment", Call("Bash", {"command": "env > environment.txt; env -0 | wc -c"}))
    launch = with_environment(launch, CHOSEN="yes")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "Show your environment")

    written = (launch.cwd / "environment.txt").read_text()
    names = {line.split("=")[0] for line in written.splitlines()}
    assert "secret-of-ours" not in written
    assert {"CHOSEN", "HOME", "PATH"} <= names
    assert {name for name in names if not name.startswith(("CLAUDE", "ANTHROPIC"))} <= {
        *("CHOSEN", "HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "SHELL", "LANG", "IS_SANDBOX"),
        *("DISABLE_AUTOUPDATER", "MCP_TOOL_TIMEOUT", "THREADMILL_AGENT_TREE", "AI_AGENT", "GIT_EDITOR"),
        *("CoreDumpDirectory", "COREPACK_ENABLE_AUTO_PIN", "NoDefaultCurrentDirectoryInExePath", "TMPPREFIX"),
    }


async def test_no_value_of_the_environment_is_written_to_a_file(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    launch = with_environment(launch, ANTHROPIC_API_KEY="sk-very-secret-key")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "hello")

    texts = [file.read_text(errors="replace") for file in launch.home.rglob("*") if file.is_file()]
    assert texts
    assert not any("sk-very-secret-key" in text for text in texts)


async def test_a_login_is_found_where_the_launch_says(model: MessagesApi, state: MemoryState, launch: Launch):
    login = launch.home.with_name("login")
    launch = with_environment(launch, CLAUDE_CONFIG_DIR=str(login))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "hello")
        assert len(list(login.glob("projects/*/*.jsonl"))) == 1


async def test_long_instructions_are_added_to_the_system_prompt(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    words = "Speak only of mills. " * 10_000  # more than one argument of a command may hold
    launch = msgspec.structs.replace(launch, system_prompt=words, model="claude-haiku-4-5")
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "hello")

    system = "".join(block["text"] for block in model.requests[0]["system"])
    assert words.strip() in system
    assert "Claude" in system.replace(words, "")
    assert model.requests[0]["model"] == "claude-haiku-4-5"


async def test_every_turn_has_a_budget_of_its_own(model: MessagesApi, state: MemoryState, launch: Launch):
    model.reply_to("dear", *[Call("Bash", {"command": "true"})] * 5)
    launch = msgspec.structs.replace(launch, max_budget_usd=0.002)
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        assert [(await told(agent, follower, text)).ok for text in ("one", "two", "three")] == [True] * 3
        dear = await told(agent, follower, "something dear")
        assert (dear.ok, dear.stop_reason) == (False, "max_budget")
        assert "maximum budget" in dear.text
        assert (await told(agent, follower, "something cheap")).ok


async def test_what_a_turn_cost_before_counts_for_that_turn_alone(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    for text in ("dear", "again"):
        model.reply_to(text, *[Call("Bash", {"command": "true"})] * 5)
    launch = msgspec.structs.replace(launch, max_budget_usd=1, spent_usd=0.998)
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        assert (await told(agent, follower, "something dear")).stop_reason == "max_budget"
        assert (await told(agent, follower, "and again")).ok


async def test_a_turn_that_was_stopped_before_it_cost_anything_takes_nothing_from_the_next(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("wait", Hang())
    model.reply_to("again", *[Call("Bash", {"command": "true"})] * 5)
    launch = msgspec.structs.replace(launch, max_budget_usd=1, spent_usd=0.998)
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "wait")
        await model.received(1)
        await agent.interrupt()
        assert (await follower.until(Finished)).cost_usd == 0
        assert (await told(agent, follower, "and again")).ok


async def test_a_resumed_conversation_keeps_the_system_prompt_that_it_began_with(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    for words in ("Speak only of mills.", "Speak only of tides."):
        launch = msgspec.structs.replace(launch, system_prompt=words)
        async with running(ClaudeAgent(state), launch) as (agent, follower):
            launch = msgspec.structs.replace(launch, resume=await agent.start(launch))
            await told(agent, follower, "hello")
    system = str(model.requests[-1]["system"])
    assert ("mills" in system, "tides" in system) == (True, False)


async def test_an_agent_that_does_not_start_says_so(state: MemoryState, launch: Launch):
    with pytest.raises(AgentError, match="did not start"):
        await ClaudeAgent(state).start(msgspec.structs.replace(launch, cwd=launch.cwd / "missing"))
