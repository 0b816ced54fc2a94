"""A task that waits for the bus ends when it is cancelled, at whatever moment."""

import asyncio

from services.runtime.bus import Bus


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
