"""Ctrl-C: before everything stands it takes the start back, afterwards it asks to stop."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


@contextlib.asynccontextmanager
async def until_told(started: AbstractAsyncContextManager[T]) -> AsyncIterator[tuple[T, asyncio.Event]]:
    """Enter `started` for the body, which gets an event that a signal sets.

    A signal that comes before everything stands cancels the start. Each counts once, so that an impatient second one
    cannot cut the cleaning up short.
    """
    starting = asyncio.current_task()
    if starting is None:
        raise RuntimeError("only a task can be told to stop")
    _on_signal(_once(starting.cancel))
    async with started as it:
        stop = asyncio.Event()
        _on_signal(stop.set)
        yield it, stop


def _on_signal(act: Callable[[], object]) -> None:
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, act)


def _once(act: Callable[[], object]) -> Callable[[], None]:
    left = [act]

    def acting() -> None:
        if left:
            left.pop()()

    return acting
