"""Waiting for a remote that is away for a moment, instead of failing a turn for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.worker.workspace.errors import GitError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds

T = TypeVar("T")


async def until_answered(
    ask: Callable[[], Awaitable[T]], *, deadline: float, progress: Callable[[str], None]
) -> T:
    """Return what `ask` does, asked again with growing pauses while the remote does not answer.

    `deadline` is a time of the event loop. Raises what `ask` raises for any other reason, and after the deadline.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except GitError as e:
            if not e.away or asyncio.get_running_loop().time() + pause >= deadline:
                raise
        progress("The remote does not answer; trying again")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
