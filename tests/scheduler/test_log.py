"""What the scheduler has not heard yet, read from a leader that may be a moment behind a follower."""

import pytest

from services.runtime.asking import Stored
from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.scheduler.log import SessionLog
from tests.scheduler.thread import Thread


class Behind(Bus):
    """A cluster whose leader has nothing yet when it is asked the first `times`."""

    times = 0

    async def following(
        self, stream: str, subject: str, sequence: int, *, deadline: float = 10
    ) -> Stored | None:
        self.times -= 1
        return None if self.times >= 0 else await super().following(stream, subject, sequence)


async def heard(log: SessionLog, thread: Thread, before: int) -> list[int]:
    return [each.sequence async for each in log.after(thread.key, 0, before)]


async def test_nothing_is_passed_over_because_the_leader_did_not_have_it_yet(bus: Bus) -> None:
    thread = Thread(bus)
    said = [await thread.say("finish") for _ in range(3)]
    behind = Behind(bus.client, replicas=3)
    behind.times = 5
    assert await heard(SessionLog(behind), thread, said[2]) == said[:2]


async def test_a_leader_that_does_not_get_there_is_no_answer(bus: Bus) -> None:
    with pytest.raises(Unavailable, match="does not have"):
        await heard(SessionLog(Bus(bus.client, replicas=3)), Thread(bus), 1)
