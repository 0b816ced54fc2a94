"""What people do in a thread beside asking: answer, attach, change their mind, talk over each other."""

import asyncio
import base64
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.buckets import Preferences
from schemas.bus import PREFERENCES, SESSIONS
from schemas.ends import TurnEnd
from schemas.live import LIVES, ResourceSample
from schemas.work import Admission, Admit, NotNow
from services.runtime.bucket import Bucket
from services.runtime.follow import read
from services.scheduler.admission import Desk
from tests.e2e.conftest import System, Thread, finals, shown_text, turns_done
from tests.messages_api import Call, MessagesApi, Say, human_texts


def buttons(thread: Thread, prefix: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the buttons whose action begins with `prefix`, each with its message's ts."""
    return [
        (message["ts"], element)
        for message in thread["messages"]
        for block in message.get("blocks", [])
        if block["type"] == "actions"
        for element in block["elements"]
        if element["action_id"].startswith(prefix)
    ]


async def press(system: System, user: str, ts: str, button: dict[str, Any]) -> None:
    body = {"user": user, "channel": "C1", "message_ts": ts, "action_id": button["action_id"]}
    await system.post("action", **body, **({"value": button["value"]} if "value" in button else {}))


@pytest.fixture
def asking(system_settings: dict[str, str]) -> None:
    system_settings["THREADMILL_PERMISSION_MODE"] = "ask"


async def test_the_agent_asks_for_permission_and_a_button_lets_it_go_on(
    asking: None, system: System, model: MessagesApi
) -> None:
    model.reply_to("careful", Call("Bash", {"command": "mkdir allowed"}), Say("made it"))
    ts = await system.say("<@UBOT> careful now")
    thread = await system.until(ts, lambda thread: buttons(thread, "threadmill.answer"))
    message, button = buttons(thread, "threadmill.answer")[0]
    assert button["text"]["text"] == "Allow once"
    assert thread["session_status"] == "suspended"
    await press(system, "U2", message, button)
    thread = await system.until(ts, turns_done(1))
    assert "made it" in shown_text(finals(thread)[0])
    assert not buttons(thread, "threadmill.answer")
    assert "U2" in shown_text(next(m for m in thread["messages"] if m["ts"] == message))


async def test_details_tell_what_the_worker_uses_and_the_time_left(
    system: System, model: MessagesApi
) -> None:
    model.reply_to("take your time", Call("Bash", {"command": "sleep 60"}))
    ts = await system.say("<@UBOT> take your time")
    samples = await system.bus.client.subscribe(ResourceSample.subject(system.key(ts)))
    thread = await system.until(ts, lambda thread: buttons(thread, "threadmill.details"))
    while not isinstance(LIVES.decode((await samples.next_msg(timeout=20)).data), ResourceSample):
        continue
    message, button = buttons(thread, "threadmill.details")[0]
    await press(system, "U1", message, button)
    thread = await system.until(ts, lambda thread: "The turn has 59 min" in shown_text(thread))
    assert "CPU cores" in shown_text(thread)
    await system.post("stop", user="U1", channel="C1", thread_ts=ts)
    await system.until(ts, turns_done(1))


async def test_an_attached_file_is_in_the_workspace_before_the_agent_hears_of_it(
    system: System, model: MessagesApi
) -> None:
    content = base64.b64encode(b"the word is heron").decode()
    model.reply_to(
        "read it", Call("Bash", {"command": "cat .threadmill/attachments/note.txt"}), Say("I read it")
    )
    ts = await system.say(
        "<@UBOT> read it", files=[{"name": "note.txt", "media_type": "text/plain", "content": content}]
    )
    await system.until(ts, turns_done(1))
    assert "the word is heron" in str(model.requests[-1]["messages"])
    assert "note.txt" not in str(await ended(system, ts))


async def ended(system: System, ts: str) -> list[TurnEnd]:
    found = await read(system.bus, "SESSIONS", [f"session.{system.key(ts)}.end.*"])
    return [TurnEnd.decode(entry.data) for entry in found]


async def test_two_people_steer_one_turn_and_each_is_named(system: System, model: MessagesApi) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 2"}))
    model.reply_to("and mind the tests", Say("both heard"))
    ts = await system.say("<@UBOT> begin")
    await system.until(ts, lambda thread: "task_card" in shown_text(thread))
    await system.say("and mind the tests", ts, user="U2")
    thread = await system.until(ts, turns_done(1))
    assert len(finals(thread)) == 1
    assert "both heard" in shown_text(finals(thread)[0])
    assert "[Grace" in str(model.requests[-1]["messages"])
    (end,) = await ended(system, ts)
    assert len(end.inputs) == 2


async def test_what_waits_after_a_stop_is_edited_deleted_and_continued(
    system: System, model: MessagesApi
) -> None:
    model.reply_to("begin", Say("slow " * 200, pieces=100, pause=0.05))
    ts = await system.say("<@UBOT> begin")
    await system.until(ts, lambda thread: any("streaming_state" in message for message in thread["messages"]))
    await system.post("reaction", user="U2", channel="C1", ts=ts, name="octagonal_sign")
    await system.until(ts, turns_done(1))
    assert [end.outcome for end in await ended(system, ts)] == ["cancelled"]
    await system.say("second", ts)
    await system.until(ts, turns_done(2))
    assert [end.outcome for end in await ended(system, ts)] == ["cancelled", "completed"]


@pytest.mark.parametrize("worker", ["the same", "another"])
@pytest.mark.parametrize("by", ["Continue", "words"])
async def test_what_a_stop_between_two_turns_lets_wait_goes_on_when_its_people_do(
    system: System, model: MessagesApi, monkeypatch: pytest.MonkeyPatch, by: str, worker: str
) -> None:
    """The worker asks whether the next message may open a turn, and somebody is faster with Stop."""
    answer = Desk.answer
    pressed: list[None] = []

    async def stopped_first(desk: Desk, request: Admit) -> Admission | NotNow:
        if not pressed:
            pressed.append(None)
            await system.post("stop", user="U1", channel="C1", thread_ts=ts)
            while await system.bus.last(SESSIONS.name, f"session.{request.session}.control") is None:  # noqa: ASYNC110 (the broker tells nobody)
                await asyncio.sleep(0.01)
        return await answer(desk, request)

    monkeypatch.setattr(Desk, "answer", stopped_first)
    ts = await system.say("<@UBOT> begin")
    await system.until(ts, turns_done(1))
    await system.say("second", ts)
    thread = await system.until(ts, lambda thread: buttons(thread, "threadmill.continue"))
    assert "1 message waits." in shown_text(thread)
    if worker == "another":
        await system.stop()
        await system.start()
    if by == "Continue":
        await press(system, "U2", *buttons(thread, "threadmill.continue")[0])
    else:
        await system.say("and third", ts)
    await system.until(ts, turns_done(2))
    ends = await ended(system, ts)
    assert [end.outcome for end in ends] == ["completed", "completed"]
    assert len(ends[1].inputs) == (1 if by == "Continue" else 2)


async def test_the_repositorys_setup_runs_once_before_the_agent(system: System, model: MessagesApi) -> None:
    model.reply_to("make a setup", Call("Bash", {"command": SETUP}), Say("there"))
    model.reply_to("look", Call("Bash", {"command": "cat prepared"}), Say("seen"))
    ts = await system.say("<@UBOT> make a setup")
    await system.until(ts, turns_done(1))
    branch = (await ended(system, ts))[0].branch
    repository = system.data / "repos" / "T1-U1.git"
    await system.stop()
    system.settings = msgspec.structs.replace(
        system.settings, data=system.data.with_name("elsewhere"), repo=str(repository)
    )
    command = ["git", "-C", repository, "symbolic-ref", "HEAD", f"refs/heads/{branch}"]
    await asyncio.to_thread(subprocess.check_call, command)
    await system.start()
    other = await system.say("<@UBOT> look")
    await system.until(other, turns_done(1))
    assert "set up here" in str(model.requests[-1]["messages"])


SETUP = "mkdir -p .threadmill; printf '#!/bin/sh\\necho set up here > prepared\\n' > .threadmill/setup; chmod +x .threadmill/setup"


async def test_an_agent_called_into_a_thread_knows_its_people_and_what_was_said(
    system: System, model: MessagesApi
) -> None:
    preferences = Bucket(system.bus, PREFERENCES.name, Preferences)
    await preferences.create("T1.C1", Preferences(instructions="Answer in German."))
    await preferences.create("T1.U1", Preferences(instructions="Call me Countess."))
    ts = await system.say("the import drops the last line", user="U2")
    await system.say("<@UBOT> can you fix it?", ts)
    await system.until(ts, turns_done(1))
    asked = model.requests[-1]
    told = str(asked["system"])
    assert (
        -1 < told.find("for Ada Lovelace") < told.find("Answer in German.") < told.find("Call me Countess.")
    )
    assert "[Grace Hopper] the import drops the last line" in str(asked["messages"])
    (end,) = await ended(system, ts)
    assert end.branch.endswith("can-you-fix-it")
    await system.say("and test it", ts, user="U2")
    await system.until(ts, turns_done(2))
    *_, newest = (text for text in human_texts(model.requests[-1]["messages"]))
    assert ("Answer in German." in newest, "Call me Countess." in newest) == (True, False)
    assert "in the place of what they asked before" in newest
    assert newest.endswith("[Grace Hopper] and test it")


async def test_a_session_stays_on_the_repository_of_whoever_began_it(
    system: System, model: MessagesApi
) -> None:
    ts = await system.say("<@UBOT> write first.txt")
    await system.until(ts, turns_done(1))
    await system.stop()
    await system.start()
    await system.say("write second.txt", ts, user="U2")
    await system.until(ts, turns_done(2))
    ends = await ended(system, ts)
    assert [(end.outcome, end.user.id) for end in ends] == [("completed", "U1"), ("completed", "U2")]
    assert sorted(each.name for each in (system.data / "repos").iterdir()) == ["T1-U1.git"]
    command = ["git", "-C", system.data / "repos" / "T1-U1.git", "ls-tree", "--name-only", ends[1].branch]
    files = await asyncio.to_thread(subprocess.check_output, command, text=True)
    assert {"first.txt", "second.txt"} <= set(files.split())


async def test_a_session_keeps_the_repository_that_it_began_on(
    system: System, model: MessagesApi, tmp_path: Path
) -> None:
    ts = await system.say("<@UBOT> write first.txt")
    await system.until(ts, turns_done(1))
    await system.stop()
    other = tmp_path / "other.git"
    await asyncio.to_thread(subprocess.check_call, ["git", "init", "-q", "--bare", other])
    system.settings = msgspec.structs.replace(system.settings, repo=str(other))
    await system.start()
    await system.say("write second.txt", ts)
    await system.until(ts, turns_done(2))
    elsewhere = await system.say("<@UBOT> write third.txt")
    await system.until(elsewhere, turns_done(1))
    assert [(end.outcome, end.repo) for end in await ended(system, ts)] == [("completed", "own")] * 2
    await system.stop()
    system.settings = msgspec.structs.replace(system.settings, repo=None)
    await system.start()
    await system.say("write fourth.txt", elsewhere)
    await system.until(elsewhere, turns_done(2))
    ends = await ended(system, elsewhere)
    assert [(end.outcome, end.repo) for end in ends] == [("completed", str(other))] * 2
