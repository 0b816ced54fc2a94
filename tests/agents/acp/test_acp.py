"""A real ACP agent does through the adapter what the other agents do."""

import asyncio
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest
from acp import RequestError
from acp.schema import PermissionOption

from services.runtime.tasks import cancel
from services.worker.agents.acp import AcpAgent
from services.worker.agents.acp_client import WorkspaceClient, choose
from services.worker.agents.protocol import (
    AgentError,
    Answer,
    Attachment,
    Exited,
    Finished,
    Launch,
    Prompt,
    QuestionAsked,
    TextBlock,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from services.worker.agents.questions import Questions
from tests.agents.stories import (
    MemoryState,
    eventually,
    processes_in,
    running,
    say,
    sleepers,
    told,
)
from tests.agents.test_pictures import drawn, images
from tests.messages_api import Call, MessagesApi, Say, human_texts

RUNAWAYS = "sleep 301 & setsid nohup sleep 302 >/dev/null 2>&1 & env -i setsid setsid sleep 303 & sleep 300"


@pytest.fixture
def agent(state: MemoryState, acp_command: tuple[str, ...]) -> AcpAgent:
    return AcpAgent(state, acp_command)


async def test_a_turn_streams_its_text_and_its_tools(model: MessagesApi, agent: AcpAgent, acp_launch: Launch):
    model.reply_to(
        "a file",
        Call(
            "Write",
            {"file_path": str(acp_launch.cwd / "hello.txt"), "content": "hello\n"},
            text="Here it comes.",
        ),
        Say("It is there.", pieces=4),
    )
    async with running(agent, acp_launch) as (agent, follower):
        finished = await told(agent, follower, "Make a file")

        assert (acp_launch.cwd / "hello.txt").read_text() == "hello\n"
        assert [block.text for block in follower.all(TextBlock)] == ["Here it comes.", "It is there."]
        assert "".join(delta.text for delta in follower.all(TextDelta)) == "Here it comes.It is there."
        [started], [ended] = follower.all(ToolStarted), follower.all(ToolFinished)
        assert (started.title, started.call, ended.ok) == ("Write hello.txt", ended.call, True)
        assert (finished.ok, finished.text, finished.stop_reason) == (True, "It is there.", "end_turn")
        assert finished.usage.output_tokens == 100
        assert finished.cost_usd > 0


async def test_an_input_during_a_turn_is_answered_before_its_end(
    model: MessagesApi, agent: AcpAgent, acp_launch: Launch
):
    model.reply_to("first", Say("the first answer", pieces=10, pause=0.1))
    launch = msgspec.structs.replace(acp_launch, system_prompt="Speak only of mills.")
    async with running(agent, launch) as (agent, follower):
        await say(agent, "first")
        await follower.until(TextDelta)
        await say(agent, "second")
        finished = await follower.until(Finished)

        assert finished.text == "the first answer\n\nYou said: second"
        assert finished.answered == 2
        assert human_texts(model.requests[-1]["messages"]) == ["Speak only of mills.", "first", "second"]


async def test_an_interrupt_kills_all_that_the_tools_started(
    model: MessagesApi, agent: AcpAgent, acp_launch: Launch
):
    model.reply_to("run away", Call("Bash", {"command": RUNAWAYS}))
    async with running(agent, acp_launch) as (agent, follower):
        await say(agent, "run away")
        await eventually(lambda: len(sleepers(acp_launch)) == 4)
        await say(agent, "never to be answered")
        await agent.interrupt()
        finished = await follower.until(Finished)

        assert (finished.ok, finished.stop_reason, finished.answered) == (False, "interrupted", 2)
        assert sleepers(acp_launch) == []
        assert (await told(agent, follower, "still there?")).text == "You said: still there?"


async def test_permissions_are_asked_in_the_thread(model: MessagesApi, agent: AcpAgent, acp_launch: Launch):
    model.reply_to("make", Call("Bash", {"command": "mkdir one"}), Call("Bash", {"command": "mkdir two"}))
    async with running(agent, msgspec.structs.replace(acp_launch, permission_mode="ask")) as (
        agent,
        follower,
    ):
        await say(agent, "make them")
        first = await follower.until(QuestionAsked)
        assert (first.about, "mkdir one" in first.title + first.detail) == ("permission", True)
        assert not (acp_launch.cwd / "one").exists()
        assert await agent.answer(first.id, Answer(choice="allow_once"))
        second = await follower.until(QuestionAsked)
        assert (acp_launch.cwd / "one").is_dir()
        assert await agent.answer(second.id, Answer(choice="deny"))
        await follower.until(Finished)
        assert not (acp_launch.cwd / "two").exists()


async def test_an_interrupt_withdraws_the_question(model: MessagesApi, agent: AcpAgent, acp_launch: Launch):
    model.reply_to("make", Call("Bash", {"command": "mkdir one"}))
    async with running(agent, msgspec.structs.replace(acp_launch, permission_mode="ask")) as (
        agent,
        follower,
    ):
        await say(agent, "make it")
        question = await follower.until(QuestionAsked)
        await agent.interrupt()

        assert (await follower.until(Finished)).stop_reason == "interrupted"
        assert not await agent.answer(question.id, Answer(choice="allow_once"))
        assert not (acp_launch.cwd / "one").exists()


async def test_a_session_resumes_where_its_files_are_and_nowhere_else(
    model: MessagesApi, state: MemoryState, acp_launch: Launch, acp_command: tuple[str, ...], tmp_path: Path
):
    async with running(AcpAgent(state, acp_command), acp_launch) as (agent, follower):
        session = await agent.start(acp_launch)
        await told(agent, follower, "my name is Ada")
    again = msgspec.structs.replace(acp_launch, resume=session)
    async with running(AcpAgent(state, acp_command), again) as (agent, follower):
        assert agent.contains("my name is Ada")
        finished = await told(agent, follower, "who am I?")
        assert finished.text == "You said: who am I?"
        assert [block.text for block in follower.all(TextBlock)] == ["You said: who am I?"]
        assert human_texts(model.requests[-1]["messages"]) == ["my name is Ada", "who am I?"]
    elsewhere = msgspec.structs.replace(again, home=tmp_path / "another-home")
    with pytest.raises(AgentError, match="did not start"):
        await AcpAgent(state, acp_command).start(elsewhere)
    assert processes_in(elsewhere) == []


async def test_closing_waits_for_nothing_and_leaves_nothing(
    model: MessagesApi, agent: AcpAgent, acp_launch: Launch
):
    model.reply_to("run away", Call("Bash", {"command": RUNAWAYS}))
    await agent.start(acp_launch)
    await say(agent, "run away")
    await eventually(lambda: len(sleepers(acp_launch)) == 4)
    begin = time.monotonic()
    await agent.close()

    assert time.monotonic() - begin < 5
    assert (sleepers(acp_launch), processes_in(acp_launch)) == ([], [])
    await agent.close()


async def test_a_killed_agent_is_told(model: MessagesApi, agent: AcpAgent, acp_launch: Launch):
    async with running(agent, acp_launch) as (agent, follower):
        await say(agent, "slow")
        await follower.until(TextDelta)
        [node] = [each for each in processes_in(acp_launch) if each.name() == "node"]
        os.kill(node.pid, signal.SIGKILL)

        assert "has ended" in (await follower.until(Exited)).reason
        await follower.to_the_end()
        assert processes_in(acp_launch) == []
        with pytest.raises(AgentError, match="not running"):
            await say(agent, "hello?")


async def test_nothing_of_our_own_environment_reaches_the_agent(
    model: MessagesApi, agent: AcpAgent, acp_launch: Launch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NATS_TOKEN", "secret-of-ours")
    model.reply_to("environment", Call("Bash", {"command": "env > environment.txt"}))
    async with running(agent, acp_launch) as (agent, follower):
        await told(agent, follower, "Show your environment")

    assert "secret-of-ours" not in (acp_launch.cwd / "environment.txt").read_text()


@pytest.mark.parametrize(
    ("command", "reason"),
    [((), "none is set"), (("no-such-agent", "acp"), "no-such-agent acp"), (("false",), "did not start")],
)
async def test_an_agent_that_does_not_start_says_why(
    state: MemoryState, launch: Launch, command: tuple[str, ...], reason: str
):
    with pytest.raises(AgentError, match=reason):
        await asyncio.wait_for(AcpAgent(state, command).start(launch), 10)
    assert processes_in(launch) == []


async def test_a_stop_while_the_agent_does_not_answer_yet_leaves_nothing_of_it(
    state: MemoryState, launch: Launch
):
    starting = asyncio.create_task(AcpAgent(state, ("sleep", "600")).start(launch))
    await eventually(lambda: len(sleepers(launch)) == 1)
    await cancel(starting)
    assert starting.cancelled()
    assert processes_in(launch) == []


async def test_files_are_read_and_written_inside_of_the_workspace_alone(launch: Launch, tmp_path: Path):
    async def nothing(_: object) -> None:
        return None

    client = WorkspaceClient(launch, Questions(nothing), nothing)
    (tmp_path / "secret.txt").write_text("secret")
    (launch.cwd / "link").symlink_to(tmp_path)
    await client.write_text_file("s", str(launch.cwd / "deep" / "a.txt"), "1\n2\n3\n")

    assert (
        await client.read_text_file("s", str(launch.cwd / "deep" / "a.txt"), line=2, limit=1)
    ).content == "2\n"
    for path in (
        "../secret.txt",
        str(tmp_path / "secret.txt"),
        str(launch.cwd / "link" / "secret.txt"),
        "/etc/passwd",
    ):
        with pytest.raises(RequestError):
            await client.read_text_file("s", path)
        with pytest.raises(RequestError):
            await client.write_text_file("s", path, "overwritten")
    assert (tmp_path / "secret.txt").read_text() == "secret"


def test_an_answer_without_a_fitting_option_never_allows():
    allow = PermissionOption(option_id="yes", name="Yes", kind="allow_once")
    reject = PermissionOption(option_id="no", name="No", kind="reject_once")

    assert choose([allow, reject], Answer(choice="allow_session")).outcome.option_id == "yes"
    assert choose([allow, reject], Answer(text="rather not")).outcome.option_id == "no"
    assert choose([allow], Answer(choice="deny")).outcome.outcome == "cancelled"
    assert choose([reject], Answer(choice="allow_once")).outcome.outcome == "cancelled"


async def test_an_attached_picture_reaches_the_model(
    model: MessagesApi, agent: AcpAgent, acp_launch: Launch, tmp_path: Path
):
    path = tmp_path / "chart.png"
    path.write_bytes(drawn("PNG"))
    picture = Attachment(path=path, media_type="image/png")
    async with running(agent, acp_launch) as (agent, follower):
        await agent.send(Prompt(id="p-1", text="What is this?", attachments=(picture,)))
        assert (await follower.until(Finished)).ok
    assert list(images(model.requests[-1]["messages"])) == [path.read_bytes()]
