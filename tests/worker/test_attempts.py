"""A turn that an earlier worker began: what it took and cost there counts here."""

from datetime import timedelta

import pytest

from schemas.base import now
from schemas.ends import TurnEnd
from schemas.events import Claimed, HandedOver, TurnFinished, TurnStarted, Usage
from services.runtime.bus import Draft
from services.worker.workspace.naming import branch_prefix
from tests.messages_api import Call, MessagesApi, Say
from tests.worker.conftest import ADA, Thread


@pytest.fixture
async def turn(thread: Thread) -> int:
    """A turn on which a worker has worked for 57 min that was charged 2 cents, on a branch named as it was said then."""
    turn = await thread.say("begin")
    started = TurnStarted(
        turn=turn,
        at=now() - timedelta(minutes=57),
        attempt=1,
        worker="w-0",
        agent="claude",
        resumed=False,
        warm=True,
        branch=branch_prefix(thread.key.thread) + "start",
    )
    usage = Usage(input_tokens=1_000_000, output_tokens=2_000_000, cache_read_tokens=3, cache_write_tokens=4)
    over = HandedOver(turn=turn, reason="it has to go", usage=usage, cost_usd=0.02)
    for event in (started, over):
        await thread.bus.publish(Draft(subject=event.subject(thread.key), message=event))
    thread.start_worker()
    return turn


async def test_its_end_tells_what_all_workers_used(thread: Thread, model: MessagesApi, turn: int) -> None:
    await thread.assign(turn, max_budget_usd=5)
    end = await thread.end_of(turn)
    assert (end.outcome, end.cost_usd > 0.02) == ("completed", True)
    assert (end.usage.input_tokens, end.usage.output_tokens) == (1_000_100, 2_000_050)
    assert end.usage.cache_read_tokens > 3
    assert end.usage.cache_write_tokens > 4


async def test_what_is_left_of_its_budget_is_all_that_its_agent_gets(
    thread: Thread, model: MessagesApi, turn: int
) -> None:
    model.reply_to("begin", *[Call("Bash", {"command": "true"})] * 5, Say("never said"))
    await thread.assign(turn, max_budget_usd=0.021)
    end = await thread.end_of(turn)
    assert (end.outcome, end.stop_reason) == ("failed", "max_budget")
    assert 0.02 < end.cost_usd < 0.03


async def test_without_a_budget_left_no_agent_starts(thread: Thread, model: MessagesApi, turn: int) -> None:
    await thread.assign(turn, max_budget_usd=0.02)
    end = await thread.end_of(turn)
    assert (end.outcome, end.stop_reason, end.cost_usd) == ("failed", "max_budget", 0.02)
    assert end.reason == "the turn's budget of $0.02 is used up"
    assert not model.requests


async def test_its_deadline_tells_the_time_that_it_has_taken_everywhere(
    thread: Thread, model: MessagesApi, turn: int
) -> None:
    model.reply_to("begin", Call("Bash", {"command": "sleep 60"}))
    await thread.assign(turn, turn_seconds=3)
    end = await thread.end_of(turn)
    assert (end.outcome, end.reason) == ("timed_out", "it has taken 57 min")


async def test_it_goes_on_on_the_branch_that_was_told(thread: Thread, model: MessagesApi, turn: int) -> None:
    await thread.assign(turn)
    end = await thread.end_of(turn)
    assert (end.outcome, end.branch) == ("completed", branch_prefix(thread.key.thread) + "start")


async def test_where_the_scheduler_ended_it_first_the_next_turn_goes_on_on_its_branch(
    thread: Thread, model: MessagesApi, turn: int
) -> None:
    branch = branch_prefix(thread.key.thread) + "start"
    end = TurnEnd(turn=turn, outcome="cancelled", inputs=(turn,), user=ADA, branch=branch)
    for message in (
        Claimed(turn=turn, lease=1, holder="scheduler-1"),
        TurnFinished(turn=turn, outcome="cancelled"),
        end,
    ):
        await thread.bus.publish(Draft(subject=message.subject(thread.key), message=message))
    await thread.assign(turn, attempt=2)
    another = await thread.end_of(await thread.say("something else"))
    assert (another.outcome, another.branch) == ("completed", branch)


async def test_its_end_keeps_the_branch_though_nobody_opened_a_workspace(
    thread: Thread, model: MessagesApi, turn: int
) -> None:
    await thread.assign(turn, max_budget_usd=0.02)
    end = await thread.end_of(turn)
    assert (end.stop_reason, end.branch) == ("max_budget", branch_prefix(thread.key.thread) + "start")


async def test_where_it_is_finished_and_its_end_not_told_yet_the_next_turn_goes_on_on_its_branch(
    thread: Thread, model: MessagesApi, turn: int
) -> None:
    finished = TurnFinished(turn=turn, outcome="cancelled")
    await thread.bus.publish(Draft(subject=finished.subject(thread.key), message=finished))
    await thread.assign(turn, attempt=2)
    another = await thread.end_of(await thread.say("something else"))
    assert (another.outcome, another.branch) == (
        "completed",
        branch_prefix(thread.key.thread) + "start",
    )
