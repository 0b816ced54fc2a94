"""What a session does when the others fail it: lost leases, an archive or a scheduler that is away."""

import asyncio
import subprocess

import msgspec
import psutil
import pytest
from nats.aio.msg import Msg

from schemas.archive import LogPage
from schemas.base import Message
from schemas.buckets import Lease
from schemas.ends import TurnEnd
from schemas.events import (
    Claimed,
    CommitPushed,
    Event,
    InputTaken,
    Notice,
    QuestionAsked,
    QuestionClosed,
    ToolStarted,
    TurnStarted,
)
from schemas.inputs import Said, Withdrawn
from schemas.work import Admission
from services.runtime.bucket import Bucket
from services.runtime.bus import Draft, Fence
from services.runtime.pull import Delivery
from services.worker.agents.protocol import Prompt
from services.worker.feed import Feed
from services.worker.hearing import Hearing
from services.worker.lease import LeaseLost
from services.worker.session_log import SessionLog
from tests.messages_api import Call, MessagesApi, Say
from tests.worker.conftest import ADA, Held, Thread, repository


def noticed(text: str):  # type: ignore[no-untyped-def]
    return lambda event: isinstance(event, Notice) and text in event.text


def refs(thread: Thread) -> str:
    return subprocess.check_output(["git", "-C", repository(thread), "for-each-ref"], text=True)


async def claimed_by_another(thread: Thread) -> None:
    """Another holder takes the session."""
    leases = Bucket(thread.bus, "leases", Lease)
    await leases.delete(str(thread.key), (await leases.get(str(thread.key))).revision)
    last = await thread.bus.last("SESSIONS", f"session.{thread.key}.out")
    assert last is not None
    claimed = Claimed(lease=999, holder="scheduler-1")
    await thread.bus.publish(
        Draft(subject=claimed.subject(thread.key), message=claimed, fence=Fence(last.sequence))
    )


async def until_lost(thread: Thread) -> None:
    """Return when the worker has noticed that the session is another's, and is gone."""
    assert thread.worker is not None
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(thread.worker, 20)
    thread.worker = None


async def test_who_is_fenced_while_the_repository_is_fetched_leaves_nothing_of_it(
    thread: Thread, model: MessagesApi
) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as remote:
        port = remote.sockets[0].getsockname()[1]
        thread.settings = msgspec.structs.replace(thread.settings, repo=f"http://127.0.0.1:{port}/x.git")
        thread.start_worker()
        await thread.assign(await thread.say("hello"))
        await thread.until(lambda event: isinstance(event, Claimed))
        await asyncio.wait_for(asked.wait(), 20)
        await claimed_by_another(thread)
        await until_lost(thread)
    assert not [each for each in psutil.Process().children(recursive=True) if "git" in each.name()]
    assert not [*(thread.settings.data / "workspaces" / str(thread.key)).iterdir()]


async def test_who_is_fenced_notices_in_the_agents_own_task_and_its_work_is_kept_aside(
    thread: Thread, model: MessagesApi
) -> None:
    path = f"{thread.settings.data}/workspaces/{thread.key}/work.txt"
    model.reply_to(
        "begin", Call("Write", {"file_path": path, "content": "mine"}), Call("Bash", {"command": "sleep 60"})
    )
    thread.start_worker("w-1")
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted) and event.name == "Bash")
    # The agent is silent: nothing is written, so only the lease can tell.
    await claimed_by_another(thread)
    await until_lost(thread)
    assert (await Bucket(thread.bus, "leases", Lease).get(str(thread.key))).value is None
    assert "refs/threadmill/lost/w-1" in await asyncio.to_thread(refs, thread)
    assert "threadmill/1712345678" not in (await asyncio.to_thread(refs, thread)).replace(
        "refs/threadmill/lost", ""
    )


async def test_work_that_cannot_be_saved_for_a_reason_that_nobody_foresaw_is_told_and_ends_the_turn(
    thread: Thread, model: MessagesApi
) -> None:
    folder = thread.settings.data / "workspaces" / str(thread.key)
    spoil = f"cd {folder} && touch work && git add work && mkdir .git/rebase-merge && rm -r .git/threadmill"
    model.reply_to("begin", Call("Bash", {"command": spoil}), Say("done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    end = await thread.end_of(turn)
    assert (end.outcome, end.text, end.attempt) == ("completed", "done", 1)
    await thread.until(noticed("The work could not be saved"))
    following = await thread.say("and now?")
    assert (await thread.end_of(following)).outcome == "completed"


async def test_a_message_that_was_deleted_before_anybody_took_it_ends_its_turn(
    thread: Thread, model: MessagesApi
) -> None:
    turn = await thread.say("begin")
    gone = Withdrawn(id="d-1", user=ADA, of="m-1")
    await thread.bus.publish(Draft(subject=gone.subject(thread.key), message=gone, fence=Fence(0)))
    thread.start_worker()
    await thread.assign(turn)
    assert (await thread.end_of(turn)).outcome == "cancelled"
    assert not model.requests


async def test_an_archive_that_is_away_is_waited_for_and_told(thread: Thread, model: MessagesApi) -> None:
    await thread.archive.unsubscribe()

    async def broken(message: Msg) -> None:
        await message.respond(b"no page")

    away = await thread.bus.client.subscribe("archiver.read.>", cb=broken)
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    await thread.until(noticed("The archive does not answer"))
    await away.unsubscribe()

    async def back(message: Msg) -> None:
        await message.respond(LogPage(records=(), through=0, more=False).encode())

    await thread.bus.client.subscribe("archiver.read.>", cb=back)
    assert (await thread.end_of(turn)).outcome == "completed"


async def test_a_turn_that_waits_for_the_archive_ends_with_its_deadline(
    thread: Thread, model: MessagesApi
) -> None:
    await thread.archive.unsubscribe()
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn, turn_seconds=3)
    assert (await thread.end_of(turn)).outcome == "timed_out"


async def test_a_turn_that_ended_just_before_the_claim_is_not_worked_on_again(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its former holder's pen is good until then, and the replica that tells of the end may be behind."""
    turn = await thread.say("begin")
    former, claim, read = SessionLog(thread.bus, thread.key), SessionLog.claim, Hearing._read
    await former.claim(Held("w-1", 1), 1)
    late: list[tuple[Hearing, Delivery]] = []

    def behind(hearing: Hearing, delivery: Delivery) -> None:
        if ".end." in delivery.subject:
            late.append((hearing, delivery))
        else:
            read(hearing, delivery)

    async def after_the_end(log: SessionLog, *claimed, **more) -> None:
        await former.end(TurnEnd(turn=turn, outcome="completed", inputs=(turn,), user=ADA))
        await claim(log, *claimed, **more)

    monkeypatch.setattr(Hearing, "_read", behind)
    monkeypatch.setattr(SessionLog, "claim", after_the_end)
    thread.start_worker("w-2")
    await thread.assign(turn, attempt=2)
    await thread.until(lambda event: isinstance(event, Claimed) and event.holder == "w-2")
    second = await thread.say("and now?")
    started = await thread.until(lambda event: isinstance(event, TurnStarted))
    assert started.turn == second
    monkeypatch.setattr(Hearing, "_read", read)
    for hearing, delivery in late:
        read(hearing, delivery)
    assert (await thread.end_of(second)).outcome == "completed"


async def test_what_an_earlier_attempt_took_is_given_again_once_its_new_start_is_written_down(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends the turn reads in the log whether an agent had begun."""
    turn, former, order = await thread.say("begin"), SessionLog(thread.bus, thread.key), list[str]()
    await former.claim(Held("w-1", 1), 1)
    await former.event(InputTaken(turn=turn, sequence=turn, id="m-1"))
    put, event = Feed.put, SessionLog.event

    def given(feed: Feed, what: Said | Prompt) -> None:
        order.append("given")
        put(feed, what)

    async def written(log: SessionLog, *events: Event) -> int:
        sequence = await event(log, *events)
        order.extend(each.kind() for each in events)
        return sequence

    monkeypatch.setattr(Feed, "put", given)
    monkeypatch.setattr(SessionLog, "event", written)
    thread.start_worker("w-2")
    await thread.assign(turn, attempt=2)
    assert (await thread.end_of(turn)).outcome == "completed"
    assert order[:2] == ["turn-started", "given"]


async def test_a_scheduler_that_says_nothing_is_asked_again(thread: Thread, model: MessagesApi) -> None:
    thread.start_worker()
    first = await thread.say("one")
    await thread.assign(first)
    await thread.end_of(first)
    await thread.desk.unsubscribe()

    async def unintelligible(message: Msg) -> None:
        asked.set()
        await message.respond(b"?")

    asked = asyncio.Event()
    away = await thread.bus.client.subscribe("scheduler.admit.>", cb=unintelligible)
    second = await thread.say("two")
    await asyncio.wait_for(asked.wait(), 10)
    await away.unsubscribe()

    async def admits(message: Msg) -> None:
        await message.respond(Admission(admitted=True).encode())

    await thread.bus.client.subscribe("scheduler.admit.>", cb=admits)
    assert (await thread.end_of(second)).outcome == "completed"


async def test_only_a_choice_that_was_offered_answers_a_question(thread: Thread, model: MessagesApi) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, permission_mode="ask")
    model.reply_to("begin", Call("Bash", {"command": "touch asked.txt"}), Say("done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    asked = await thread.until(lambda event: isinstance(event, QuestionAsked))
    assert isinstance(asked, QuestionAsked)
    await thread.answer(asked.id, "allow_everything", id_="a-forged")
    await thread.answer(asked.id, "allow_once", id_="a-true")
    end = await thread.end_of(turn)
    closed = [event.choice for event in await thread.events() if isinstance(event, QuestionClosed)]
    assert (end.outcome, closed) == ("completed", ["allow_once"])


async def test_an_agent_that_died_between_turns_is_started_again_for_the_next(
    thread: Thread, model: MessagesApi
) -> None:
    thread.start_worker()
    first = await thread.say("remember 42")
    await thread.assign(first)
    await thread.end_of(first)
    await thread.kill_agent()
    second = await thread.say("what was it?")
    assert (await thread.end_of(second)).outcome == "completed"
    assert "remember 42" in str(model.requests[-1]["messages"])


async def test_what_appears_while_idle_is_saved_before_the_release(
    thread: Thread, model: MessagesApi
) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, idle_seconds=5)
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    await thread.end_of(turn)
    (thread.settings.data / "workspaces" / str(thread.key) / "late.txt").write_text("late")
    assert thread.worker is not None
    await asyncio.wait_for(thread.worker, 40)
    pushed: list[Message] = [event for event in await thread.events() if isinstance(event, CommitPushed)]
    assert len(pushed) == 1
