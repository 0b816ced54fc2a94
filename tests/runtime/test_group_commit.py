"""Many who store at once: each is answered for itself, whatever becomes of the others, on a real broker."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from schemas.base import now
from schemas.bus import IN, SESSIONS
from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.people import Person
from services.local.broker import Broker
from services.runtime.bus import BATCH_ID, BATCH_SEQUENCE, Bus, Draft, Fence
from services.runtime.errors import Conflict, StreamFull, Unavailable
from services.runtime.follow import read
from services.runtime.group_commit import FEW, MOST, PATIENCE, TOGETHER, GroupCommit

MANY = 4 * TOGETHER
# More than a stream has unfinished batches.
UNFINISHED = 60


def said(number: int, by: str = "U1") -> Draft:
    key = SessionKey("T1", "C1", f"{number}-1")
    message = Said(id=key.thread, text="hello", user=Person(id=by), at=now())
    subject, id_ = message.subject(key), f"{by}/{number}"
    return Draft(subject=subject, message=message, session=str(key), id=id_, fence=Fence(0))


async def outcomes(commit: GroupCommit, drafts: Sequence[Draft], deadline: float = 5) -> list[Any]:
    work = (commit.publish(draft, deadline=deadline) for draft in drafts)
    return await asyncio.gather(*work, return_exceptions=True)


async def stored(bus: Bus) -> list[str]:
    """Who said what is in the log."""
    return [each.headers["Nats-Msg-Id"] for each in await read(bus, SESSIONS.name, [IN])]


@pytest.fixture
def batches(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are sent."""
    sizes: list[int] = []
    publish = bus.publish_together

    async def counted(drafts: Sequence[Draft], **more: Any) -> None:
        sizes.append(len(drafts))
        await publish(drafts, **more)

    monkeypatch.setattr(bus, "publish_together", counted)
    return sizes


async def test_what_comes_at_once_is_stored_in_few_batches_each_once(bus: Bus, batches: list[int]) -> None:
    drafts = [said(number) for number in range(MANY)]
    assert await outcomes(GroupCommit(bus), drafts) == [None] * MANY
    assert sorted(await stored(bus)) == sorted(draft.id or "" for draft in drafts)
    assert sum(batches) >= MANY - FEW
    assert len(batches) <= MANY / TOGETHER


async def test_a_batch_has_a_bound(bus: Bus, batches: list[int]) -> None:
    count = 3 * MOST
    assert await outcomes(GroupCommit(bus), [said(number) for number in range(count)]) == [None] * count
    assert max(batches) <= MOST


async def test_few_are_stored_each_by_itself(bus: Bus, batches: list[int]) -> None:
    commit = GroupCommit(bus)
    for first in range(0, MANY, FEW):
        drafts = [said(number) for number in range(first, first + FEW)]
        assert await outcomes(commit, drafts) == [None] * FEW
    assert not batches
    assert len(await stored(bus)) == MANY


async def test_one_that_another_was_faster_with_is_refused_alone(bus: Bus, batches: list[int]) -> None:
    await bus.publish(said(7, by="U2"))
    found = await outcomes(GroupCommit(bus), [said(number) for number in range(MANY)])
    assert batches
    assert isinstance(found.pop(7), Conflict)
    assert found == [None] * (MANY - 1)
    assert len(await stored(bus)) == MANY


async def test_what_is_there_already_is_stored_once_and_is_no_conflict(bus: Bus, batches: list[int]) -> None:
    drafts = [said(number) for number in range(MANY)]
    commit = GroupCommit(bus)
    assert await outcomes(commit, drafts) == await outcomes(commit, drafts) == [None] * MANY
    assert len(await stored(bus)) == MANY


@pytest.mark.parametrize("place", [MANY // 2, MANY - 1])
async def test_one_that_is_there_already_answers_for_no_other(
    bus: Bus, batches: list[int], place: int
) -> None:
    drafts = [said(number) for number in range(MANY)]
    await bus.publish(drafts[place])
    assert await outcomes(GroupCommit(bus), drafts) == [None] * MANY
    assert batches
    assert len(await stored(bus)) == MANY


async def test_a_batch_whose_answer_is_lost_is_stored_once(
    bus: Bus, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bus.publish_together

    async def unheard(drafts: Sequence[Draft], **more: Any) -> None:
        await publish(drafts, **more)
        raise Unavailable("the answer was lost")

    monkeypatch.setattr(bus, "publish_together", unheard)
    assert await outcomes(GroupCommit(bus), [said(number) for number in range(MANY)]) == [None] * MANY
    assert batches
    assert len(await stored(bus)) == MANY


async def test_the_same_twice_at_once_is_stored_once(bus: Bus, batches: list[int]) -> None:
    drafts = [said(number) for number in range(MANY)]
    assert await outcomes(GroupCommit(bus), [*drafts, *drafts]) == [None] * (2 * MANY)
    assert len(await stored(bus)) == MANY


async def test_of_two_who_say_different_things_under_one_subject_one_is_stored(bus: Bus) -> None:
    drafts = [said(number, by) for number in range(MANY) for by in ("U1", "U2")]
    found = await outcomes(GroupCommit(bus), drafts)
    for pair in zip(found[::2], found[1::2], strict=True):
        assert [type(each) for each in pair].count(Conflict) == 1
        assert None in pair
    assert len(await stored(bus)) == MANY


async def test_a_full_stream_tells_each(bus: Bus) -> None:
    info = await bus.api("STREAM.INFO.SESSIONS", None)
    await bus.api("STREAM.UPDATE.SESSIONS", info["config"] | {"max_bytes": 1})
    found = await outcomes(GroupCommit(bus), [said(number) for number in range(MANY)])
    assert {type(each) for each in found} == {StreamFull}


async def test_a_broker_that_dies_tells_each_and_what_is_brought_again_is_stored_once(
    bus: Bus, broker: Broker
) -> None:
    drafts = [said(number) for number in range(MANY)]
    commit = GroupCommit(bus)
    dying = asyncio.create_task(outcomes(commit, drafts, deadline=1))
    await asyncio.sleep(0)
    await broker.kill()
    assert {type(each) for each in await dying} <= {Unavailable, type(None)}
    await broker.start()
    assert await outcomes(commit, drafts, deadline=20) == [None] * MANY
    assert len(await stored(bus)) == MANY


async def test_nobody_waits_long_for_others_that_get_no_answer(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, stuck = bus.publish, asyncio.Event()

    async def unanswered(draft: Draft, **more: Any) -> int:
        if draft.session and int(draft.session.split(".")[2].partition("-")[0]) < FEW:
            await stuck.wait()
        return await publish(draft, **more)

    monkeypatch.setattr(bus, "publish", unanswered)
    commit = GroupCommit(bus)
    waiting = [asyncio.create_task(commit.publish(said(number), deadline=60)) for number in range(FEW)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20 * PATIENCE):
        await commit.publish(said(FEW), deadline=60)
    assert not any(task.done() for task in waiting)
    stuck.set()
    await asyncio.gather(*waiting)


async def test_who_gives_up_keeps_nobody_waiting(bus: Bus) -> None:
    commit = GroupCommit(bus)
    tasks = [asyncio.create_task(commit.publish(said(n), deadline=5)) for n in range(MANY)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    assert await asyncio.gather(*tasks[1::2]) == [None] * (MANY // 2)
    assert await outcomes(commit, [said(MANY)]) == [None]
    assert {f"U1/{n}" for n in range(1, MANY, 2)} <= set(await stored(bus))


async def test_batches_that_others_never_end_are_waited_for_by_nobody(bus: Bus, batches: list[int]) -> None:
    for number in range(UNFINISHED):
        headers = {BATCH_ID: str(number), BATCH_SEQUENCE: "1"}
        await bus.client.publish("session.T1.C2.1-1.out", b"{}", headers=headers)
    assert await outcomes(GroupCommit(bus), [said(number) for number in range(MANY)]) == [None] * MANY
    assert batches
    assert len(await stored(bus)) == MANY
