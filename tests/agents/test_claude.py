"""The real Claude Code does what its adapter promises, with a stub in the model's place."""

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.protocol import (
    Finished,
    Launch,
    TextBlock,
    TextDelta,
    ToolFinished,
    ToolStarted,
    Usage,
)
from tests.agents.stories import MemoryState, running, say, told
from tests.messages_api import Call, MessagesApi, Say, human_texts


async def test_a_turn_streams_its_text_and_its_tools(model: MessagesApi, state: MemoryState, launch: Launch):
    model.reply_to(
        "a file",
        Call(
            "Write", {"file_path": str(launch.cwd / "hello.txt"), "content": "hello\n"}, text="Here it comes."
        ),
        Say("It is there.", pieces=4),
    )
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        finished = await told(agent, follower, "Make a file")

        assert (launch.cwd / "hello.txt").read_text() == "hello\n"
        assert [block.text for block in follower.all(TextBlock)] == ["Here it comes.", "It is there."]
        assert "".join(delta.text for delta in follower.all(TextDelta)) == "Here it comes.It is there."
        [started], [ended] = follower.all(ToolStarted), follower.all(ToolFinished)
        assert (started.title, started.call, ended.ok) == ("Write hello.txt", ended.call, True)
        assert (finished.ok, finished.text, finished.stop_reason) == (True, "It is there.", "end_turn")
        assert finished.usage == Usage(
            input_tokens=200, output_tokens=100, cache_read_tokens=40, cache_write_tokens=6
        )
        assert finished.cost_usd > 0
        assert agent.state_complete


async def test_what_is_said_during_a_tool_call_joins_the_turn(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("first", Call("Bash", {"command": "sleep 1"}))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "first")
        await follower.until(ToolStarted)
        await say(agent, "second")
        finished = await follower.until(Finished)

        assert human_texts(model.requests[-1]["messages"]) == ["first", "second"]
        assert len(model.requests) == 2
        assert finished.text == "You said: second"


async def test_what_is_said_during_the_last_text_is_answered_before_the_end(
    model: MessagesApi, state: MemoryState, launch: Launch
):
    model.reply_to("first", Say("the first answer", pieces=10, pause=0.1))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "first")
        await follower.until(TextDelta)
        await say(agent, "second")
        finished = await follower.until(Finished)

        assert finished.text == "the first answer\n\nYou said: second"
        assert finished.usage.output_tokens == 100
        assert len(follower.all(Finished)) == 1


async def test_each_turn_costs_what_it_costs(model: MessagesApi, state: MemoryState, launch: Launch):
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        costs = [(await told(agent, follower, text)).cost_usd for text in ("one", "two")]

        assert costs[0] > 0
        assert abs(costs[0] - costs[1]) < 1e-9
