"""A task that waits for the bus ends when it is cancelled, at whatever moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from schemas.bus import SCHEDULER
from services.runtime.bus import Bus
from services.runtime.pull import Pull


async def _ends_whenever_it_is_cancelled(bus: Bus, wait: Callable[[], Awaitable[None]]) -> None:
    async def wait_for_ever() -> None:
        while True:
            await wait()

    for turn in range(400):
        task = asyncio.create_task(wait_for_ever())
        for _ in range(turn % 40):
            await asyncio.sleep(0)
        if turn % 2:
            await bus.client.flush()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done, f"the cancellation was lost in turn {turn}"
        assert task.cancelled()


async def test_a_cancellation_that_meets_an_answer_is_not_lost(bus: Bus) -> None:
    async def ask() -> None:
        await bus.api("INFO", None)

    await _ends_whenever_it_is_cancelled(bus, ask)


async def test_nor_is_one_that_meets_the_word_that_nobody_is_there_to_answer(bus: Bus) -> None:
    async def ask() -> None:
        await bus.ask("nobody.there", b"", None, time.monotonic() + 1)

    await _ends_whenever_it_is_cancelled(bus, ask)


async def test_nor_is_one_that_meets_the_end_of_a_pull(bus: Bus) -> None:
    async def pull() -> None:
        async with Pull(bus.client, SCHEDULER.stream, SCHEDULER.name, gives_back=True):
            pass

    await _ends_whenever_it_is_cancelled(bus, pull)
