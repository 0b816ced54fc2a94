"""A conversation with Claude Code is kept entry by entry, and goes on on another machine."""

import json
from pathlib import Path

import msgspec
import pytest
from claude_agent_sdk.testing import run_session_store_conformance

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import AgentError, Finished, Launch, Prompt
from services.worker.agents.session_store import ConversationEntries
from tests.agents.stories import MemoryState, eventually, running, say, told
from tests.messages_api import Call, MessagesApi, human_texts


def elsewhere(launch: Launch, tmp_path: Path, conversation: str) -> Launch:
    """Return the launch that resumes the conversation on a machine that never saw it."""
    workspace = tmp_path / "another" / "place"
    workspace.mkdir(parents=True)
    return msgspec.structs.replace(launch, cwd=workspace, home=tmp_path / "another-home", resume=conversation)


def messages_stored(state: MemoryState) -> list[str]:
    return [entry["uuid"] for entry in state.entries[""] if "uuid" in entry]


def messages_written(launch: Launch) -> list[str]:
    """Return the messages in Claude Code's own file, which also has entries that it does not hand out."""
    [file] = (launch.home / "claude" / "projects").glob("*/*.jsonl")
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    return [entry["uuid"] for entry in entries if "uuid" in entry]


async def test_the_session_store_conforms():
    await run_session_store_conformance(lambda: ConversationEntries(MemoryState(), "sess"))


async def test_the_working_directory_does_not_count_for_the_conversation():
    entries = ConversationEntries(MemoryState(), "ours")
    await entries.append({"project_key": "here", "session_id": "ours"}, [{"type": "user", "uuid": "1"}])

    there = {"project_key": "there", "session_id": "ours"}
    assert await entries.load(there) == [{"type": "user", "uuid": "1"}]
    assert await entries.load({**there, "session_id": "theirs"}) is None


async def test_entries_that_could_not_be_stored_go_ahead_of_the_next():
    store = MemoryState(failures=1)
    entries = ConversationEntries(store, "ours")
    key = {"project_key": "p", "session_id": "ours"}
    first = [{"type": "user", "uuid": "1"}, {"type": "mode"}]
    with pytest.raises(ConnectionError):
        await entries.append(key, first)
    assert not entries.complete
    await entries.append(key, first)
    await entries.append(key, [{"type": "mode"}, {"type": "user", "uuid": "2"}])

    assert store.entries[""] == [*first, {"type": "mode"}, {"type": "user", "uuid": "2"}]
    assert entries.complete


async def test_all_that_claude_code_wrote_is_stored_when_the_turn_ends(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("look", Call("Bash", {"command": "seq 1 2000"}))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        for text in ("look around", "and again"):
            await told(agent, follower, text)
            assert messages_stored(state) == messages_written(launch)
            assert agent.state_complete


async def test_a_broker_that_comes_back_gets_everything_before_the_turn_ends(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    state.failures = 3  # after as many the SDK drops a batch
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await told(agent, follower, "hello")

        assert state.attempts > 3
        assert agent.state_complete
        assert messages_stored(state) == messages_written(launch)


async def test_a_broker_that_stays_away_makes_the_state_incomplete_and_the_turn_ends(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    state.failures = 10**9
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        finished = await told(agent, follower, "hello")

        assert (finished.ok, agent.state_complete) == (True, False)


async def test_a_conversation_resumes_on_another_machine(
    model: MessagesApi, state: MemoryState, launch: Launch, tmp_path: Path
):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        conversation = await agent.start(launch)
        await told(agent, follower, "my name is Ada")
    moved = elsewhere(launch, tmp_path, conversation)
    async with running(ClaudeAgent(state), moved) as (agent, follower):
        assert await agent.start(moved) == conversation
        assert agent.contains("my name is Ada")
        assert not agent.contains("who am I?")
        await told(agent, follower, "who am I?")

        assert human_texts(model.requests[-1]["messages"]) == ["my name is Ada", "who am I?"]
        assert agent.contains("who am I?")
        assert agent.state_complete


async def test_symbolic_links_on_the_way_do_not_matter(
    model: MessagesApi, state: MemoryState, launch: Launch, tmp_path: Path
):
    (tmp_path / "link").symlink_to(tmp_path)
    linked = msgspec.structs.replace(
        launch, cwd=tmp_path / "link" / "workspace", home=tmp_path / "link" / "home"
    )
    async with running(ClaudeAgent(state), linked) as (agent, follower):
        conversation = await agent.start(linked)
        await told(agent, follower, "my name is Ada")
        assert agent.state_complete
        assert messages_stored(state) == messages_written(launch)
    async with running(ClaudeAgent(state), msgspec.structs.replace(linked, resume=conversation)) as (
        agent,
        follower,
    ):
        await told(agent, follower, "who am I?")
        assert human_texts(model.requests[-1]["messages"]) == ["my name is Ada", "who am I?"]


async def test_a_killed_agent_resumes_in_the_middle_of_its_turn(
    model: MessagesApi, state: MemoryState, launch: Launch, tmp_path: Path
):
    model.reply_to("count", Call("Bash", {"command": "sleep 300"}))
    agent = ClaudeAgent(state)
    conversation = await agent.start(launch)
    await say(agent, "count the stars")
    await model.received(1)
    await eventually(lambda: "assistant" in [entry["type"] for entry in state.entries.get("", [])])
    await agent.close()

    moved = elsewhere(launch, tmp_path, conversation)
    async with running(ClaudeAgent(state), moved) as (agent, follower):
        assert agent.contains("count the stars")
        await agent.send(Prompt(id="count the stars", text="Go on, please."))
        finished = await follower.until(Finished)

        assert finished.text == "You said: Go on, please."
        assert human_texts(model.requests[-1]["messages"])[0] == "count the stars"


@pytest.mark.parametrize("unknown", ["00000000-0000-4000-8000-000000000000", "../../etc/passwd"])
async def test_a_conversation_that_is_not_stored_is_never_a_silent_fresh_start(
    state: MemoryState, launch: Launch, unknown: str
):
    with pytest.raises(AgentError, match="is not stored"):
        await ClaudeAgent(state).start(msgspec.structs.replace(launch, resume=unknown))
