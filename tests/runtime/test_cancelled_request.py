"""A task that waits for the bus ends when it is cancelled, at whatever moment."""

import asyncio

from schemas.bus import SCHEDULER
from services.runtime.bus import Bus
from services.runtime.pull import Pull


async def test_a_cancellation_that_meets_an_answer_is_not_lost(bus: Bus) -> None:
    async def ask_for_ever() -> None:
        while True:
            await bus.api("INFO", None)

    for turn in range(400):
        task = asyncio.create_task(ask_for_ever())
        for _ in range(turn % 40):
            await asyncio.sleep(0)
        if turn % 2:
            await bus.client.flush()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        assert done, f"the cancellation was lost in turn {turn}"
        assert task.cancelled()


async def test_nor_is_one_that_meets_the_end_of_a_pull(bus: Bus) -> None:
    async def pull_for_ever() -> None:
        while True:
            async with Pull(bus.client, SCHEDULER.stream, SCHEDULER.name, gives_back=True):
                pass

    for turn in range(400):
        task = asyncio.create_task(pull_for_ever())
        for _ in range(turn % 40):
            await asyncio.sleep(0)
        if turn % 2:
            await bus.client.flush()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        assert done, f"the cancellation was lost in turn {turn}"
        assert task.cancelled()
