"""What happens in a session, told by its log: the real Claude Code works on a real repository."""

import asyncio
import contextlib
import subprocess
import time

import msgspec
import psutil
import pytest

from schemas.base import now
from schemas.buckets import Lease
from schemas.ends import TurnEnd
from schemas.events import (
    Claimed,
    CommitPushed,
    HandedOver,
    InputTaken,
    Notice,
    QuestionAsked,
    QuestionClosed,
    TextBlock,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from schemas.people import Person
from schemas.state import StateAppended
from services.runtime.bucket import Bucket
from services.runtime.bus import Draft
from services.runtime.follow import read
from services.worker.lease import LeaseLost
from services.worker.session_log import SessionLog
from tests.messages_api import Call, MessagesApi, Say
from tests.worker.conftest import ADA, Held, Thread


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
        lambda: subprocess.check_output(
            ["git", "-C", repository, "show", f"{end.branch}:hello.txt"], text=True
        )
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


async def test_stop_ends_the_turn_at_once_and_leaves_no_process(thread: Thread, model: MessagesApi) -> None:
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
    assert took < 5
    following = await thread.say("and now?")
    assert (await thread.end_of(following)).outcome == "completed"


async def test_a_stop_that_comes_late_leaves_what_was_said_after_it_alone(
    thread: Thread, model: MessagesApi
) -> None:
    pressed = now()
    model.reply_to("go", Call("Bash", {"command": "sleep 1"}), Say("done"))
    thread.start_worker()
    turn = await thread.say("go")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    await thread.stop(at=pressed)
    assert (await thread.end_of(turn)).outcome == "completed"


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


async def test_who_lost_the_lease_is_silent_and_the_new_holder_goes_on(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 3"}), Say("done by the second"))
    thread.start_worker("w-1")
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    first = thread.worker
    assert first is not None
    leases = Bucket(thread.bus, "leases", Lease)
    await leases.delete(str(thread.key), (await leases.get(str(thread.key))).revision)
    thread.start_worker("w-2")
    await thread.assign(turn, attempt=2)
    end = await thread.end_of(turn)
    assert (end.outcome, end.attempt) == ("completed", 2)
    with pytest.raises(LeaseLost):
        await first
    claims = [event.holder for event in await thread.events() if isinstance(event, Claimed)]
    assert claims == ["w-1", "w-2"]


async def test_a_worker_told_to_go_hands_over_and_the_next_one_finishes_the_turn(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 20"}), Say("finished elsewhere"))
    thread.start_worker("w-1")
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    assert thread.session is not None
    thread.session.drain()
    assert thread.worker is not None
    await asyncio.wait_for(thread.worker, 10)
    handed = (await thread.events())[-1]
    assert isinstance(handed, HandedOver)
    assert handed.usage.output_tokens > 0
    model.reply_to("interrupted", Say("finished elsewhere"))
    thread.start_worker("w-2")
    await thread.assign(turn)
    end = await thread.end_of(turn)
    assert (end.outcome, end.text) == ("completed", "finished elsewhere")
    assert end.usage.output_tokens > handed.usage.output_tokens


async def test_a_turn_past_its_deadline_ends_as_timed_out_after_a_warning(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 60"}))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn, turn_seconds=5)
    end = await thread.end_of(turn)
    assert end.outcome == "timed_out"
    assert any(isinstance(event, Notice) and "left" in event.text for event in await thread.events())


async def test_a_question_is_answered_from_the_thread(thread: Thread, model: MessagesApi) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, permission_mode="ask")
    model.reply_to("begin", Call("Bash", {"command": "touch asked.txt"}), Say("done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    asked = await thread.until(lambda event: isinstance(event, QuestionAsked))
    assert isinstance(asked, QuestionAsked)
    assert asked.choices == ("allow_once", "allow_session", "deny")
    await thread.answer(asked.id, "allow_once")
    end = await thread.end_of(turn)
    assert end.outcome == "completed"
    closed = [event for event in await thread.events() if isinstance(event, QuestionClosed)]
    assert [(event.by.name if event.by else None, event.choice) for event in closed] == [
        ("Ada", "allow_once")
    ]
    assert (thread.settings.data / "workspaces" / str(thread.key) / "asked.txt").exists()


@pytest.mark.parametrize(
    ("said", "choice", "text"), [("Rather the tide", None, "Rather the tide"), ("water ", "Water", "")]
)
async def test_a_reply_in_the_thread_answers_the_agents_question(
    thread: Thread, model: MessagesApi, said: str, choice: str | None, text: str
) -> None:
    question = {"question": "Wind or water?", "choices": ["Wind", "Water"]}
    model.reply_to("begin", Call("mcp__threadmill__ask", question), Say("as you wish"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, QuestionAsked))
    reply = await thread.say(said)
    end = await thread.end_of(turn)
    assert (end.outcome, end.text, end.inputs) == ("completed", "as you wish", (turn, reply))
    (closed,) = [event for event in await thread.events() if isinstance(event, QuestionClosed)]
    assert (closed.by, closed.choice, closed.text) == (ADA, choice, text)
    heard = str(model.requests[-1]["messages"])
    assert heard.count(choice or text) == (2 if choice else 1)


async def test_an_answer_that_came_while_nobody_worked_reaches_the_next_worker(
    thread: Thread, model: MessagesApi
) -> None:
    question = {"question": "Wind or water?", "choices": ["Wind", "Water"]}
    model.reply_to("begin", Call("mcp__threadmill__ask", question))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    asked = await thread.until(lambda event: isinstance(event, QuestionAsked))
    assert isinstance(asked, QuestionAsked)
    assert thread.worker is not None
    thread.worker.cancel()
    await asyncio.gather(thread.worker, return_exceptions=True)
    await thread.answer(asked.id, "Water")
    thread.start_worker("w-2")
    await thread.assign(turn, attempt=2)
    end = await thread.end_of(turn)
    assert (end.outcome, len(end.inputs)) == ("completed", 2)
    (closed,) = [event for event in await thread.events() if isinstance(event, QuestionClosed)]
    assert (closed.by, closed.choice) == (ADA, "Water")
    assert "Ada has answered: Water" in str(model.requests[-1]["messages"])


@pytest.mark.parametrize(("name", "before"), [("PROXY_TOKEN", ""), ("CUSTOM_HEADERS", "X-Proxy-Auth: ")])
async def test_a_key_that_the_agent_was_given_is_stored_nowhere(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch, name: str, before: str
) -> None:
    key = "corp-proxy-ab12ab12ab12"
    monkeypatch.setenv(f"ANTHROPIC_{name}", before + key)
    model.reply_to("show", Call("Bash", {"command": f"env | grep {name}"}), Say(f"It is {key}.", pieces=9))
    thread.start_worker()
    turn = await thread.say("show me")
    await thread.assign(turn)
    end = await thread.end_of(turn)
    assert end.text == "It is [redacted]."
    log = await read(thread.bus, "SESSIONS", [f"session.{thread.key}.>"])
    assert any(f"ANTHROPIC_{name}=[redacted]" in delivery.data.decode() for delivery in log)
    assert not any(key in delivery.data.decode() for delivery in log)


async def test_the_agent_can_ask_where_it_is(thread: Thread, model: MessagesApi) -> None:
    model.reply_to("where", Call("mcp__threadmill__session_info", {}), Say("now I know"))
    thread.start_worker()
    turn = await thread.say("where are you?")
    await thread.assign(turn, turn_seconds=3_630)
    end = await thread.end_of(turn)
    told = str(model.requests[-1]["messages"])
    for words in (str(thread.key), "People: Ada", f"Branch: {end.branch}", "Time left for this turn: 60 min"):
        assert words in told


async def test_a_permission_is_not_given_by_words(thread: Thread, model: MessagesApi) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, permission_mode="ask")
    model.reply_to("begin", Call("Bash", {"command": "touch asked.txt"}), Say("done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    asked = await thread.until(lambda event: isinstance(event, QuestionAsked))
    assert isinstance(asked, QuestionAsked)
    reply = await thread.say("allow_once")
    await thread.until(lambda event: isinstance(event, InputTaken) and event.sequence == reply)
    await thread.answer(asked.id, "deny")
    assert (await thread.end_of(turn)).outcome == "completed"
    assert not (thread.settings.data / "workspaces" / str(thread.key) / "asked.txt").exists()


async def test_a_conversation_that_cannot_be_restored_is_told_and_the_transcript_is_read(
    thread: Thread, model: MessagesApi
) -> None:
    alien = StateAppended(batch="b", entries='[{"type":"other"}]', agent="another", conversation="c")
    former = SessionLog(thread.bus, thread.key)
    await former.claim(Held("w-0", 1), 1)
    await former.state(alien)
    thread.start_worker()
    first = await thread.say("the word is heron")
    await thread.bus.publish(
        Draft(
            subject=f"session.{thread.key}.end.{first}",
            message=TurnEnd(
                turn=first, outcome="completed", inputs=(first,), user=Person(id="U1"), text="noted: heron"
            ),
        )
    )
    second = await thread.say("which word?")
    await thread.assign(second)
    await thread.end_of(second)
    assert any(isinstance(event, Notice) and "transcript" in event.text for event in await thread.events())
    assert "noted: heron" in str(model.requests[-1])


async def test_an_agent_that_dies_is_started_again_and_the_turn_completes(
    thread: Thread, model: MessagesApi
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 30"}), Say("went on"))
    model.reply_to("interrupted", Say("went on"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    await thread.state_stored()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "claude":
                process.kill()
    end = await thread.end_of(turn)
    assert end.outcome == "completed"
    starts = [event for event in await thread.events() if isinstance(event, TurnStarted)]
    told = [event.text for event in await thread.events() if isinstance(event, Notice)]
    assert [start.resumed for start in starts] == [False, True], told
