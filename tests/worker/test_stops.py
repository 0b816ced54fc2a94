"""A stop at a bad time still ends its turn, that turn alone, and costs no work."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from schemas.base import now
from schemas.events import CommitPushed, InputTaken, Paused, ToolStarted, TurnStarted
from schemas.inputs import Said, Stop
from schemas.people import File
from schemas.work import Admission, NotNow
from services.runtime.bus import Draft, Fence
from services.worker.happenings import Happening, Logged
from services.worker.line import Line
from services.worker.saving import Saving
from services.worker.workspace import Workspace
from tests.messages_api import Call, MessagesApi, Say
from tests.worker.conftest import ADA, Thread, prepared_repository, repository

Answer = Callable[[Msg], Awaitable[None]]


async def test_a_stop_while_a_setup_script_hangs_ends_the_turn_at_once(
    thread: Thread, model: MessagesApi
) -> None:
    script = "#!/bin/sh\ntouch began\nwhile :; do echo half >> made; sleep 0.01; done\n"
    await prepared_repository(thread, ".threadmill/setup", script)
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    began = thread.settings.data / "workspaces" / str(thread.key) / "began"
    async with asyncio.timeout(20):
        while not began.exists():  # noqa: ASYNC110 (a script announces itself to nobody)
            await asyncio.sleep(0.02)
    at = time.monotonic()
    await thread.stop()
    end = await thread.end_of(turn, seconds=5)
    assert (end.outcome, end.stop_reason, end.commits) == ("cancelled", ADA.id, ())
    assert time.monotonic() - at < 5
    made = began.with_name("made")
    size = made.stat().st_size
    await asyncio.sleep(0.05)
    assert made.stat().st_size == size, "the script is gone before the end is told"


async def test_a_stop_while_a_file_is_waited_for_ends_the_turn_at_once(
    thread: Thread, model: MessagesApi
) -> None:
    thread.start_worker()
    late = File(object="never", name="plan.pdf", media_type="application/pdf", size=1)
    said = Said(id="m-file", user=ADA, text="read this", files=(late,))
    turn = await thread.bus.publish(Draft(subject=said.subject(thread.key), message=said, fence=Fence(0)))
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, TurnStarted))
    at = time.monotonic()
    await thread.stop()
    assert (await thread.end_of(turn, seconds=5)).outcome == "cancelled"
    assert time.monotonic() - at < 5


async def test_a_stop_that_the_log_refused_still_ends_the_turn(thread: Thread, model: MessagesApi) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 60"}))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    await heard_alone(thread, Stop(user=ADA))
    assert (await thread.end_of(turn, seconds=5)).outcome == "cancelled"


@pytest.mark.parametrize("another", [False, True], ids=["this worker", "the next worker"])
async def test_a_stop_that_the_log_gets_late_ends_one_turn_alone(
    thread: Thread, model: MessagesApi, another: bool, tmp_path: Path
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 60"}))
    gate = tmp_path / "gate"
    model.reply_to(
        "go on", Call("Bash", {"command": f"until [ -e {gate} ]; do sleep 0.05; done"}), Say("done")
    )
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    await thread.until(lambda event: isinstance(event, ToolStarted))
    stop = Stop(user=ADA, at=now() + timedelta(seconds=60))
    await heard_alone(thread, stop)
    first = await thread.end_of(turn, seconds=5)
    if another and thread.session and thread.worker:
        thread.session.drain()
        await thread.worker
    following = await thread.say("go on")
    if another:
        thread.start_worker("w-2")
        await thread.assign(following)
    await thread.until(lambda event: isinstance(event, ToolStarted) and event.turn == following)
    await heard_alone(thread, stop)
    await thread.stop(at=stop.at)
    behind = await thread.say("and this")
    await thread.until(lambda event: isinstance(event, InputTaken) and event.sequence == behind)
    gate.touch()
    second = await thread.end_of(following)
    assert (first.outcome, first.pressed_at) == ("cancelled", stop.at)
    assert (second.outcome, second.inputs, second.pressed_at) == ("completed", (following, behind), None)


async def heard_alone(thread: Thread, stop: Stop) -> None:
    """Have `stop` heard by those who listen; the stream keeps nothing, for an expectation that does not hold."""
    await thread.bus.client.publish(
        f"session.{thread.key}.control", stop.encode(), headers={"Nats-Expected-Last-Sequence": "1"}
    )


async def let_answer(thread: Thread, first: Answer, then: Answer) -> None:
    """Let `first` answer what the worker asks the scheduler next, and `then` whatever it asks after that."""
    answers = itertools.chain([first], itertools.repeat(then))

    async def answer(request: Msg) -> None:
        await next(answers)(request)

    await thread.desk.unsubscribe()
    thread.desk = await thread.bus.client.subscribe("scheduler.admit.>", cb=answer)
    await thread.bus.client.flush()


async def test_a_stop_between_two_turns_lets_what_was_said_wait_and_says_so(
    thread: Thread, model: MessagesApi
) -> None:
    """The worker asks whether the next turn may begin, and somebody is faster with Stop."""
    continued: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def stopped_first(request: Msg) -> None:
        await thread.stop()
        await request.respond(NotNow().encode())

    async def admitted(request: Msg) -> None:
        await request.respond(Admission(admitted=True, opened_after=await continued).encode())

    await let_answer(thread, stopped_first, admitted)
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    await thread.end_of(turn)
    later = await thread.say("and this")
    await thread.until(lambda event: isinstance(event, Paused))
    continued.set_result(await thread.go_on())
    assert (await thread.end_of(later)).outcome == "completed"
    assert sum(isinstance(event, Paused) for event in await thread.events()) == 1


@pytest.mark.parametrize("drains", [False, True])
async def test_a_stop_while_a_worker_saves_its_last_work_is_no_reason_to_wait_in_silence(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch, drains: bool
) -> None:
    """Unless it was told to go: nothing follows a hand-over in the log, else it would count as a death."""
    again, report, read = Saving.again, Line.report, asyncio.Event()

    def noted(line: Line, happening: Happening) -> None:
        report(line, happening)
        if isinstance(happening, Logged) and isinstance(happening.message, Stop):
            read.set()

    async def slow(saving: Saving, workspace: Workspace | None) -> tuple[CommitPushed, ...]:
        await thread.say("and this")
        await thread.stop()
        await read.wait()
        if drains and thread.session:
            thread.session.drain()
        return await again(saving, workspace)

    monkeypatch.setattr(Line, "report", noted)
    monkeypatch.setattr(Saving, "again", slow)
    thread.settings = msgspec.structs.replace(thread.settings, idle_seconds=0.1)
    thread.start_worker()
    await thread.assign(await thread.say("hello"))
    assert thread.worker
    await thread.worker
    assert any(isinstance(event, Paused) for event in await thread.events()) is not drains


async def test_a_worker_that_hears_nothing_from_the_scheduler_asks_on_whoever_presses_stop(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn may have been opened; that the queue waits is told on the scheduler's word alone."""
    monkeypatch.setattr("services.worker.admission.ADMIT_SECONDS", 0.3)

    async def silent(_: Msg) -> None:
        await thread.stop()

    async def admitted(request: Msg) -> None:
        await request.respond(Admission(admitted=True, opened_after=later).encode())

    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    await thread.end_of(turn)
    await let_answer(thread, silent, admitted)
    later = await thread.say("and this")
    assert (await thread.end_of(later)).outcome == "cancelled"
    assert not any(isinstance(event, Paused) for event in await thread.events())


async def test_a_stop_that_stood_in_the_log_before_the_worker_came_starts_no_agent(
    thread: Thread, model: MessagesApi
) -> None:
    turn = await thread.say("begin")
    await thread.stop()
    thread.start_worker()
    await thread.assign(turn)
    assert (await thread.end_of(turn)).outcome == "cancelled"
    assert not model.requests
    assert not any(isinstance(event, TurnStarted) for event in await thread.events())


async def held_up_saving(thread: Thread, gate: Path) -> None:
    """Let the person's repository take what is pushed only once there is a `gate`."""
    await prepared_repository(thread, "seed", "")
    hook = repository(thread) / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {gate}.asked\nuntil [ -e {gate} ]; do sleep 0.05; done\n")
    hook.chmod(0o755)


async def test_a_stop_while_the_work_is_saved_cuts_that_short_and_the_work_is_saved_all_the_same(
    thread: Thread, model: MessagesApi, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await held_up_saving(thread, gate)
    model.reply_to("begin", Call("Bash", {"command": "touch work"}), Say("done"))
    thread.start_worker()
    turn = await thread.say("begin")
    await thread.assign(turn)
    async with asyncio.timeout(20):
        while not gate.with_name("gate.asked").exists():  # noqa: ASYNC110 (a hook announces itself to nobody)
            await asyncio.sleep(0.02)
    await thread.stop()
    end = await thread.end_of(turn, seconds=5)
    gate.touch()
    await thread.until(lambda event: isinstance(event, CommitPushed))
    assert (end.outcome, end.text, end.commits) == ("cancelled", "done", ())
