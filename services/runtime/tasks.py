"""Tasks that end in order: cancelled and waited for, or awaited beside each other."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Longer than any of our tasks takes to clean up.
CANCEL_AGAIN_SECONDS = 5.0


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` and wait for their end; raises what one of them ended with instead.

    A cancellation of the caller itself is not swallowed. A task that lost its cancellation is cancelled again.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


async def heeded(waiting: Awaitable[T]) -> T:
    """Await `waiting`, and the cancellation too that meets its end, good or bad.

    Python 3.11's `wait_for`, by which nats-py waits, loses it. A task of a group is cancelled once, and one that loses that
    goes on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        result = await waiting
    except Exception as e:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from e
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def unattended(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Return `task`, whose failure is nobody's news where nobody awaits it."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def together(*doing: Awaitable[Any]) -> list[Any]:
    """Return the results of all of `doing`; what one of them raises is raised once all have come to their end."""
    results = await asyncio.gather(*doing, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


async def drop(task: asyncio.Task[Any], *expected: type[Exception]) -> None:
    """Cancel `task` and wait for its end; what went wrong in it is told in the log alone, unless it is `expected`."""
    try:
        await cancel(task)
    except expected:
        pass
    except Exception:  # whatever it is, whoever needs the task no more has other things to end
        log.exception("what is not needed any more had failed", task=task.get_name())
