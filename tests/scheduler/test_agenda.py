"""What fails is looked at again, and what no later try can mend is not."""

import asyncio
from collections import Counter

from schemas.keys import SessionKey
from services.runtime.errors import TooLarge, Unavailable
from services.runtime.tasks import cancel
from services.scheduler import agenda
from services.scheduler.agenda import Agenda

AWAY, HUGE = SessionKey("T1", "C1", "1-1"), SessionKey("T1", "C1", "1-2")
TRIES = 5


async def test_what_is_too_large_is_tried_once_while_others_are_tried_again(monkeypatch) -> None:
    monkeypatch.setattr(agenda, "AGAIN_SECONDS", 0.0)
    tried: Counter[SessionKey] = Counter()
    enough = asyncio.Event()

    async def advance(key: SessionKey) -> None:
        tried[key] += 1
        if tried[AWAY] == TRIES:
            enough.set()
        raise TooLarge("it stays so") if key == HUGE else Unavailable("it passes")

    due = Agenda()
    due.soon(HUGE)
    due.soon(AWAY)
    running = asyncio.create_task(due.run(advance))
    async with asyncio.timeout(10):
        await enough.wait()
    await cancel(running)
    assert tried[HUGE] == 1
