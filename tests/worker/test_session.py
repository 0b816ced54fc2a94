"""What happens in a session, told by its log: the real Claude Code works on a real repository."""

import asyncio
import contextlib
import subprocess
import time

import msgspec
import psutil

from schemas.events import CommitPushed, InputTaken, TextBlock, ToolFinished, ToolStarted, TurnStarted
from tests.messages_api import Call, MessagesApi, Say
from tests.worker.conftest import Thread


async def test_a_message_becomes_a_file_a_commit_and_an_answer(thread: Thread, model: MessagesApi) -> None:
    model.reply_to(
        "greeting",
        Call(
            "Write",
            {"file_path": f"{thread.settings.data}/workspaces/{thread.key}/hello.txt", "content": "hi"},
        ),
        Say("I wrote hello.txt."),
    )
    thread.start_worker()
    turn = await thread.say("please write a greeting")
    await thread.assign(turn)
    end = await thread.end_of(turn)
    assert (end.outcome, end.text, end.state_complete) == ("completed", "I wrote hello.txt.", True)
    assert end.commits[0].files == 1
    kinds = [type(event) for event in await thread.events()]
    assert (
        kinds.index(TurnStarted)
        < kinds.index(InputTaken)
        < kinds.index(ToolStarted)
        < kinds.index(ToolFinished)
    )
    assert kinds.index(TextBlock) < kinds.index(CommitPushed)
    repository = thread.settings.data / "repos" / "T1-U1.git"
    shown = await asyncio.to_thread(
        subprocess.check_output, ["git", "-C", repository, "show", f"{end.branch}:hello.txt"], text=True
    )
    assert shown == "hi"


async def test_the_next_message_continues_the_conversation_in_the_same_worker(
    thread: Thread, model: MessagesApi
) -> None:
    thread.start_worker()
    first = await thread.say("remember 42")
    await thread.assign(first)
    await thread.end_of(first)
    second = await thread.say("what was it?")
    await thread.end_of(second)
    assert "remember 42" in str(model.requests[-1]["messages"])


async def test_another_machine_continues_the_same_conversation(thread: Thread, model: MessagesApi) -> None:
    thread.start_worker()
    first = await thread.say("remember 42")
    await thread.assign(first)
    await thread.end_of(first)
    assert thread.session is not None
    thread.session.drain()
    assert thread.worker is not None
    await thread.worker
    elsewhere = thread.settings.data.with_name("elsewhere")
    (thread.settings.data / "repos").rename(thread.settings.data.with_name("repos"))
    elsewhere.mkdir()
    thread.settings.data.with_name("repos").rename(elsewhere / "repos")
    thread.settings = msgspec.structs.replace(thread.settings, data=elsewhere)
    thread.start_worker("w-2")
    second = await thread.say("what was it?")
    await thread.assign(second)
    end = await thread.end_of(second)
    assert end.outcome == "completed"
    assert "remember 42" in str(model.requests[-1]["messages"])


async def test_stop_ends_the_turn_within_a_second_and_leaves_no_process(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("sleep", Call("Bash", {"command": "sleep 299 & sleep 298"}), Say("never said"))
    thread.start_worker()
    turn = await thread.say("sleep")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    async with asyncio.timeout(10):
        while not _sleepers():  # noqa: ASYNC110 (a process announces itself to nobody)
            await asyncio.sleep(0.02)
    began = time.monotonic()
    await thread.stop()
    end = await thread.end_of(turn, seconds=5)
    took = time.monotonic() - began
    assert end.outcome == "cancelled"
    assert not _sleepers()
    assert took < 1.0
    following = await thread.say("and now?")
    assert (await thread.end_of(following)).outcome == "completed"


def _sleepers() -> list[str]:
    found: list[str] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            found += [line] if line.startswith("sleep 29") else []
    return found


async def test_what_is_said_meanwhile_reaches_the_running_agent_and_is_answered_once(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 1"}))
    model.reply_to("also this", Say("both done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    steering = await thread.say("also this")
    end = await thread.end_of(turn)
    assert end.inputs == (turn, steering)
    assert end.text == "both done"
