"""What the scheduler has not heard yet, read from a leader that may be a moment behind a follower."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import cast

import pytest

from schemas.buckets import Turns
from schemas.bus import SESSIONS, TURNS
from schemas.events import Claimed
from schemas.keys import SessionKey
from services.runtime.asking import Stored
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.errors import Unavailable
from services.scheduler.leases import Leases
from services.scheduler.log import SessionLog
from services.scheduler.ratelimits import RateLimits
from services.scheduler.recall import Recall
from services.scheduler.settings import SchedulerSettings
from services.scheduler.subjects import Heard, decode
from services.scheduler.summaries import Summaries
from tests.scheduler.thread import Thread
from tests.scheduler.until import until


async def heard(log: SessionLog, thread: Thread, before: int | None = None) -> list[int]:
    if before:
        await log.reached(before)
    return [each.sequence async for each in log.after(thread.key, 0, before)]


class Behind(Bus):
    """A leader that has nothing yet when it is asked the first `times` whether it has something."""

    times = 0

    async def has(self, stream: str, sequence: int) -> bool:
        self.times -= 1
        return self.times < 0 and await super().has(stream, sequence)

    async def following(
        self, stream: str, subject: str, sequence: int, *, deadline: float = 10
    ) -> Stored | None:
        return None if self.times > 0 else await super().following(stream, subject, sequence)


async def test_nothing_is_passed_over_because_the_leader_did_not_have_it_yet(bus: Bus) -> None:
    thread = Thread(bus)
    said = [await thread.say("finish") for _ in range(3)]
    behind = Behind(bus.client)
    behind.times = 5
    assert await heard(SessionLog(behind), thread, said[2]) == said[:2]


async def test_a_leader_that_does_not_get_there_is_no_answer(bus: Bus) -> None:
    with pytest.raises(Unavailable, match="does not have"):
        await heard(SessionLog(bus), Thread(bus), 1)


class Talkative(Bus):
    """A session in which a stop and one more message are stored while the first message is being read."""

    thread: Thread

    async def following(
        self, stream: str, subject: str, sequence: int, *, deadline: float = 10
    ) -> Stored | None:
        if ".in." in subject and sequence:
            await self.thread.stop()
            await self.thread.say("more")
        return await super().following(stream, subject, sequence)


async def test_what_is_said_while_it_reads_is_left_for_the_next_time(bus: Bus) -> None:
    """It stands after a stop that was not there yet when the stops were asked for."""
    talkative = Talkative(bus.client)
    talkative.thread = Thread(bus)
    first = await talkative.thread.say("finish")
    assert await heard(SessionLog(talkative), talkative.thread) == [first]


async def test_what_nobody_said_is_known_from_what_is_not_there_yet(bus: Bus) -> None:
    log, thread, other = SessionLog(bus), Thread(bus), Thread(bus)
    said, elsewhere = await thread.say("finish"), await other.say("finish")
    stopped = await thread.stop()
    assert [await log.lacks(thread.key, each) for each in (said, elsewhere, stopped, stopped + 1)] == [
        False,
        True,
        True,
        False,
    ]
    await bus.api(f"STREAM.PURGE.{SESSIONS.name}", None)
    assert await log.lacks(thread.key, said)


async def test_a_session_begins_with_its_first_message_of_any_kind(bus: Bus) -> None:
    log, thread, other = SessionLog(bus), Thread(bus), Thread(bus)
    await other.say("finish")
    claimed = Claimed(lease=1, holder="w-1")
    first = await bus.publish(Draft(subject=claimed.subject(thread.key), message=claimed))
    said = await thread.say("finish")
    assert [await log.is_first(thread.key, each) for each in (first, said)] == [True, False]


async def test_a_leader_that_does_not_have_a_message_yet_does_not_call_it_the_first(bus: Bus) -> None:
    thread = Thread(bus)
    said = await thread.say("finish")
    behind = Behind(bus.client)
    behind.times = 1
    assert not await SessionLog(behind).is_first(thread.key, said)


async def test_of_a_session_that_begins_nothing_is_read_that_stands_before(
    bus: Bus, scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    after = SessionLog.after

    def noted(
        log: SessionLog, key: SessionKey, position: int, before: int | None = None
    ) -> AsyncIterator[Heard]:
        read.append(before or 0)
        return after(log, key, position, before)

    monkeypatch.setattr(SessionLog, "after", noted)
    await scheduler()
    thread = Thread(bus)
    first = await thread.say("finish")
    memories = Bucket(bus, TURNS.name, Turns)

    async def over() -> bool:
        memory = (await memories.get(str(thread.key))).value
        return memory is not None and memory.heard > first and memory.idle

    await until(over)
    second = await thread.say("finish")
    await thread.ended(second)
    assert first not in read
    assert second in read


@pytest.mark.parametrize("at_hand", [False, True])
async def test_what_a_session_began_with_is_not_passed_over_for_what_was_said_after(
    bus: Bus, at_hand: bool
) -> None:
    thread = Thread(bus)
    said = [await thread.say("finish") for _ in range(2)]
    nobody = cast("Leases", SimpleNamespace(held=lambda key: None))
    recall = Recall(SessionLog(bus), nobody, RateLimits(bus, SchedulerSettings()), Summaries(bus))
    stored = await bus.at(SESSIONS.name, said[1])
    assert stored
    heard = await recall.reached(
        thread.key, Heard(said[1], decode(stored.subject, stored.data)), at_hand=at_hand
    )
    memory = await recall.up_to(thread.key, Turns(), heard)
    assert [each.sequence for each in memory.waiting] == said


async def test_a_scheduler_reads_before_a_message_only_once_the_leader_has_that(
    bus: Bus, scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int | None]] = []
    reached, after = SessionLog.reached, SessionLog.after

    async def asked(log: SessionLog, sequence: int) -> None:
        await reached(log, sequence)
        calls.append(("reached", sequence))

    def read(
        log: SessionLog, key: SessionKey, position: int, before: int | None = None
    ) -> AsyncIterator[Heard]:
        calls.append(("read", before))
        return after(log, key, position, before)

    monkeypatch.setattr(SessionLog, "reached", asked)
    monkeypatch.setattr(SessionLog, "after", read)
    await scheduler()
    thread = Thread(bus)
    for _ in range(2):
        await thread.ended(await thread.say("finish"))
    reads = [before for what, before in calls if what == "read" and before]
    assert reads
    assert all(("reached", before) in calls[: calls.index(("read", before))] for before in reads)
