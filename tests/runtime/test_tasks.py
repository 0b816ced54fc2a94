"""Tasks end in order, whatever is cancelled or goes wrong."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from services.runtime import tasks
from services.runtime.tasks import cancel, drop, together


async def test_cancelling_waits_until_the_task_has_tidied_up() -> None:
    tidy: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidy.append("up")

    task = asyncio.create_task(work())
    await begun.wait()
    await cancel(task)
    assert tidy == ["up"]


async def test_whoever_is_cancelled_while_cancelling_others_stays_cancelled() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def reluctant() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    other = asyncio.create_task(reluctant())
    await begun.wait()
    caller = asyncio.create_task(cancel(other))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    await asyncio.wait([other])


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    begun = asyncio.Event()

    async def forgetful() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(forgetful())
    await begun.wait()
    await cancel(task)
    assert task.cancelled()


async def test_of_a_task_that_is_dropped_only_what_nobody_expected_is_told() -> None:
    async def fail(error: Exception) -> None:
        raise error

    failed = [asyncio.create_task(fail(error), name="reading") for error in (KeyError("a"), ValueError("b"))]
    waiting = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    with capture_logs() as told:
        for task in (*failed, waiting):
            await drop(task, KeyError)
    assert waiting.cancelled()
    assert [(each["event"], each["task"]) for each in told] == [
        ("what is not needed any more had failed", "reading")
    ]


async def test_what_fails_beside_others_is_raised_when_all_have_ended() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise ValueError("the first")

    async def work() -> str:
        await asyncio.sleep(0)
        ended.append("the other")
        return "result"

    with pytest.raises(ValueError, match="the first"):
        await together(fail(), work())
    assert ended == ["the other"]
    assert await together(work(), work()) == ["result", "result"]
