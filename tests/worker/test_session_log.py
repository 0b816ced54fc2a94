"""The holder's pen, used by tasks that may be cancelled at any moment."""

import asyncio

import pytest

from schemas.ends import TurnEnd
from schemas.events import Notice
from schemas.keys import SessionKey
from schemas.people import Person
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.worker.session_log import SessionLog

KEY = SessionKey("T1", "C1", "1712345678-000100")


@pytest.mark.parametrize("steps", range(8))
async def test_a_writer_that_is_cancelled_costs_nobody_the_lease(bus: Bus, steps: int) -> None:
    log = SessionLog(bus, KEY)
    await log.claim("w-1", 1, 1, lambda: True)
    writer = asyncio.create_task(log.event(Notice(text="from a task that is cancelled")))
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps % 2:
        await bus.client.flush()
    writer.cancel()
    await asyncio.wait([writer])

    await log.event(Notice(text="the next one"))
    await log.end(TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1")))

    assert not log.lost.is_set()
    kinds = [
        delivery.headers["Threadmill-Schema"]
        for delivery in await read(bus, "SESSIONS", [f"session.{KEY}.>"])
    ]
    assert kinds[0] == "claimed/1"
    assert kinds[-3:] == ["notice/1", "turn-finished/1", "turn-end/1"]
