"""A person writes in a thread: what they see, end to end, with the real Claude Code on a real repository."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
from slack_sdk.signature import SignatureVerifier

from schemas.ends import TurnEnd
from services.runtime.follow import read
from tests.e2e.conftest import System, finals, reactions, shown_text, turns_done
from tests.messages_api import Call, MessagesApi, Say


def blocks_of(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in message.get("blocks", []) if block["type"] == kind]


async def ends(system: System, ts: str) -> list[TurnEnd]:
    found = await read(system.bus, "SESSIONS", [f"session.{system.key(ts)}.end.*"])
    return [TurnEnd.decode(entry.data) for entry in found]


async def git(*arguments: str | Path) -> str:
    return await asyncio.to_thread(subprocess.check_output, ["git", *arguments], text=True)


async def test_a_mention_becomes_live_text_a_tool_card_a_commit_and_one_final_message(
    system: System, model: MessagesApi
) -> None:
    model.reply_to(
        "poem", Call("Write", {"file_path": "poem.txt", "content": "roses\n"}), Say("I wrote the poem.")
    )
    ts = await system.say("<@UBOT> write a poem")
    await system.until(ts, lambda thread: "eyes" in reactions(thread) and thread["status"])
    live = await system.until(ts, lambda thread: any("streaming_state" in m for m in thread["messages"]))
    assert any(m.get("streaming_state") for m in live["messages"])
    thread = await system.until(ts, turns_done(1))
    final = finals(thread)[0]
    assert "I wrote the poem." in shown_text(final)
    cards = [card for message in thread["messages"] for card in blocks_of(message, "task_card")]
    assert [(card["title"].split()[0], card["status"]) for card in cards] == [
        ("Write", "complete"),
        ("Pushed", "complete"),
    ]
    await system.until(ts, lambda thread: reactions(thread) == ["white_check_mark"])
    end = (await ends(system, ts))[0]
    repository = system.data / "repos" / "T1-U1.git"
    assert await git("-C", repository, "show", f"{end.branch}:poem.txt") == "roses\n"
    assert await git("-C", repository, "log", "-1", "--format=%an", end.branch) == "Ada Lovelace\n"


async def test_the_transcript_is_in_the_data_folder_and_the_next_message_continues(
    system: System, model: MessagesApi
) -> None:
    ts = await system.say("<@UBOT> remember 42")
    await system.until(ts, turns_done(1))
    await system.stop()
    archived = list((system.data / "archive").rglob("*.jsonl.gz"))
    assert archived
    await system.start()
    await system.say("what was the number?", ts)
    await system.until(ts, turns_done(2))
    assert "remember 42" in str(model.requests[-1]["messages"])


async def test_a_killed_worker_loses_nothing_and_the_turn_ends_once(
    system: System, model: MessagesApi
) -> None:
    model.reply_to("careful", Call("Bash", {"command": "sleep 2"}), Say("survived"))
    model.reply_to("interrupted", Say("survived"))  # where its conversation was stored before the kill
    ts = await system.say("<@UBOT> careful work")
    await system.until(ts, lambda thread: "task_card" in shown_text(thread))
    for worker in _workers():
        worker.kill()
    thread = await system.until(ts, turns_done(1))
    assert "survived" in shown_text(finals(thread)[0])
    assert [(end.outcome, end.attempt) for end in await ends(system, ts)] == [("completed", 2)]


async def test_a_restart_in_the_middle_of_a_text_shows_nothing_twice(
    system: System, model: MessagesApi
) -> None:
    model.reply_to("tell", Say("Once upon a time there was a mill. " * 20, pieces=200, pause=0.05))
    model.reply_to("interrupted", Say("And so it ends."))
    ts = await system.say("<@UBOT> tell me a story")
    await system.until(ts, lambda thread: "Once upon a time" in shown_text(thread))
    await system.stop()
    await system.start()
    thread = await system.until(ts, turns_done(1))
    shown = [message["text"] for message in thread["messages"] if message["user"] == "UBOT"]
    assert sum("And so it ends." in text for text in shown) == 1, shown
    assert sum("Once upon a time" in text for text in shown) <= 2, shown
    (end,) = await ends(system, ts)
    assert end.text.endswith("And so it ends.")


async def test_a_killed_worker_leaves_no_card_that_runs(system: System, model: MessagesApi) -> None:
    model.reply_to("careful", Call("Bash", {"command": "sleep 2"}), Say("survived"))
    ts = await system.say("<@UBOT> careful work")
    await system.until(ts, lambda thread: "task_card" in shown_text(thread))
    for worker in _workers():
        worker.kill()
    thread = await system.until(ts, turns_done(1))
    assert "in_progress" not in shown_text(thread)


def _workers() -> list[psutil.Process]:
    workers = [process for process in _children() if "services.worker" in _command(process)]
    assert workers
    return workers


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # gone meanwhile
        return []


async def test_stop_ends_the_turn_leaves_no_process_and_the_next_message_works(
    system: System, model: MessagesApi
) -> None:
    model.reply_to("long", Call("Bash", {"command": "sleep 297"}), Say("never"))
    ts = await system.say("<@UBOT> long work")
    await system.until(ts, lambda thread: "task_card" in shown_text(thread))
    await system.say("stop", ts)
    await system.until(ts, lambda thread: finals(thread) and "octagonal_sign" in reactions(thread))
    assert not [process for process in _children() if _command(process)[:2] == ["sleep", "297"]]
    await system.say("go on with something else", ts)
    await system.until(ts, turns_done(2))
    assert [end.outcome for end in await ends(system, ts)] == ["cancelled", "completed"]


async def test_the_same_event_ten_times_over_every_transport_is_one_turn(
    system: System, model: MessagesApi
) -> None:
    await system.post("fault", deliver="duplicate", times=10)
    ts = await system.say("<@UBOT> only once")
    await system.until(ts, turns_done(1))
    again = await system.say("and again", ts)
    assert again
    thread = await system.until(ts, turns_done(2))
    assert len(finals(thread)) == 2
    assert len(await ends(system, ts)) == 2


async def test_the_sixth_turn_is_refused_with_the_time(system: System, model: MessagesApi) -> None:
    ts = await system.say("<@UBOT> turn 1")
    for turn in range(2, 6):
        await system.until(ts, turns_done(turn - 1))
        await system.say(f"turn {turn}", ts)
    await system.until(ts, turns_done(5))
    await system.say("turn 6", ts)
    thread = await system.until(ts, lambda thread: any(m.get("is_ephemeral") for m in thread["messages"]))
    told = next(message for message in thread["messages"] if message.get("is_ephemeral"))
    assert "<!date^" in shown_text(told)
    assert [end.outcome for end in await ends(system, ts)] == ["completed"] * 5 + ["rejected"]


async def deliver(system: System, ts: str) -> int:
    """Deliver a reply in the thread as Slack does, signed, and return the status of the answer."""
    assert system.dev.simulator is not None
    now = str(int(time.time()))
    event = {
        "type": "message",
        "channel": "C1",
        "user": "U1",
        "ts": f"{now}.000100",
        "thread_ts": ts,
        "text": "hello?",
    }
    body = msgspec.json.encode({"type": "event_callback", "team_id": "T1", "event_id": "Ev1", "event": event})
    verifier = SignatureVerifier(system.dev.simulator.signing_secret)
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": now,
        "X-Slack-Signature": str(verifier.generate_signature(timestamp=now, body=body)),
    }
    async with system.http.post("/slack/events", data=body, headers=headers) as answer:
        return answer.status


async def test_without_a_broker_slack_is_told_503_and_delivers_again(
    system: System, model: MessagesApi
) -> None:
    ts = await system.say("<@UBOT> first")
    await system.until(ts, turns_done(1))
    await system.dev.ground.broker.stop()
    assert await deliver(system, ts) == 503
    late = await system.say("are you there?", ts)
    assert late
    await system.dev.ground.broker.start()
    thread = await system.until(ts, turns_done(2), seconds=110)
    assert len(finals(thread)) == 2
