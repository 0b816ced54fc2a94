"""What a broker says while it shuts down: it refuses what it cannot look up, and acknowledges batches that it never wrote."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from schemas.ends import TurnEnd
from schemas.events import Claimed, TurnFinished
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime import group_commit
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.follow import read
from services.runtime.group_commit import GroupCommit
from services.runtime.topology import apply_map

KEY = SessionKey("T1", "C1", "1-1")
OUT, END = f"session.{KEY}.out", f"session.{KEY}.end.1"
FIRST = Draft(subject=OUT, message=Claimed(lease=1, holder="b"), id="first")
CLAIM = Draft(subject=OUT, message=Claimed(lease=1, holder="a"), id="claim", fence=Fence(1))
FINISH = (
    Draft(subject=OUT, message=TurnFinished(turn=1, outcome="completed"), id="out", fence=Fence(1)),
    Draft(
        subject=END,
        message=TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1")),
        id="end",
        fence=Fence(0),
    ),
)
REFUSAL = b'{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 0"}, "seq": 0}'
ACKNOWLEDGEMENT = b'{"stream": "SESSIONS", "seq": 2, "batch": "b", "count": 2}'


@contextlib.asynccontextmanager
async def going(bus: Bus, subject: str, answer: bytes) -> AsyncIterator[None]:
    """A broker that gives `answer` once on `subject` and does nothing, and is another one after that, which has the first `out`."""
    await bus.api("STREAM.DELETE.SESSIONS", None)
    subscription = await bus.client.subscribe(subject)
    await bus.client.flush()

    async def go() -> None:
        asked = await subscription.next_msg(timeout=5)
        await subscription.unsubscribe()
        await apply_map(bus)
        await bus.publish(FIRST)
        await asked.respond(answer)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(go())
        yield


async def subjects(bus: Bus) -> Sequence[str]:
    return [each.subject for each in await read(bus, "SESSIONS", ["session.>"])]


async def test_a_refusal_is_no_conflict_where_the_fence_holds(bus: Bus) -> None:
    async with going(bus, OUT, REFUSAL):
        assert await bus.publish(CLAIM) == 2
    assert await subjects(bus) == [OUT, OUT]


async def test_nor_is_one_where_the_fence_on_another_subject_holds(bus: Bus) -> None:
    state = f"session.{KEY}.state"
    appended = Draft(subject=state, message=CLAIM.message, fence=Fence(1, OUT))
    async with going(bus, state, REFUSAL):
        assert await bus.publish(appended) == 2
    assert await subjects(bus) == [OUT, state]


async def test_nor_is_one_of_a_batch_where_all_fences_hold(bus: Bus) -> None:
    async with going(bus, END, REFUSAL):
        assert await bus.publish_batch(FINISH) == 3
    assert await subjects(bus) == [OUT, OUT, END]


async def test_a_batch_that_was_acknowledged_and_is_not_there_is_sent_again(bus: Bus) -> None:
    async with going(bus, END, ACKNOWLEDGEMENT):
        assert await bus.publish_batch(FINISH) == 3
    assert await subjects(bus) == [OUT, OUT, END]


async def test_of_what_is_stored_together_nothing_counts_that_is_not_there(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "TOGETHER", 1)
    async with going(bus, OUT, ACKNOWLEDGEMENT):
        await GroupCommit(bus).publish(CLAIM, deadline=5)
    assert await subjects(bus) == [OUT, OUT]
