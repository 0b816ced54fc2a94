"""What the scheduler has not heard yet, read from a leader that may be a moment behind a follower."""

from collections.abc import AsyncIterator

import pytest

from schemas.bus import SESSIONS
from schemas.keys import SessionKey
from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.scheduler.log import SessionLog
from services.scheduler.subjects import Heard
from tests.scheduler.thread import Thread


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
    stopped = await thread.stop()
    said = await thread.say("finish")
    assert [await log.is_first(thread.key, each) for each in (stopped, said)] == [True, False]


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
    await thread.ended(first)
    second = await thread.say("finish")
    await thread.ended(second)
    assert first not in read
    assert second in read


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
