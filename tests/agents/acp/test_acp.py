"""A real ACP agent does through the adapter what the other agents do."""

from services.worker.agents.acp import AcpAgent
from services.worker.agents.protocol import Launch, TextBlock, TextDelta, ToolFinished, ToolStarted
from tests.agents.stories import MemoryState, running, told
from tests.messages_api import Call, MessagesApi, Say


async def test_a_turn_streams_its_text_and_its_tools(
    model: MessagesApi, state: MemoryState, acp_launch: Launch, acp_command: tuple[str, ...]
):
    model.reply_to(
        "a file",
        Call(
            "Write",
            {"file_path": str(acp_launch.cwd / "hello.txt"), "content": "hello\n"},
            text="Here it comes.",
        ),
        Say("It is there.", pieces=4),
    )
    async with running(AcpAgent(state, acp_command), acp_launch) as (agent, follower):
        finished = await told(agent, follower, "Make a file")
        print(*follower.seen, sep="\n")

        assert (acp_launch.cwd / "hello.txt").read_text() == "hello\n"
        assert [block.text for block in follower.all(TextBlock)] == ["Here it comes.", "It is there."]
        assert "".join(delta.text for delta in follower.all(TextDelta)) == "Here it comes.It is there."
        [started], [ended] = follower.all(ToolStarted), follower.all(ToolFinished)
        assert (started.call, ended.ok) == (ended.call, True)
        assert "hello.txt" in started.title
        assert (finished.ok, finished.text, finished.stop_reason) == (True, "It is there.", "end_turn")
        assert finished.usage.output_tokens == 100
        assert finished.cost_usd > 0
