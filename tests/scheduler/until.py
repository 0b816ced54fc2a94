"""Waiting for what others bring about, with a deadline."""

import asyncio
import inspect
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Return when `condition` (or what it awaits) is true. Raises `TimeoutError`."""
    async with asyncio.timeout(within):
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.01)
