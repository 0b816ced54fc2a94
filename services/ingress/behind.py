"""What is done after Slack has its answer: bounded in number, and never a reason to fail."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from services.runtime.metrics import REFUSED
from services.runtime.tasks import cancel

log = structlog.get_logger(__name__)

MOST = 1_000


class Behind:
    """Tasks that nobody waits for. `drain` gives them time, `stop` ends them."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> bool:
        """Do `work` some time soon; with too much under way it is dropped and counted, and False returned."""
        if len(self._tasks) >= self._most:
            work.close()
            REFUSED.labels("ingress", "too_much_behind").inc()
            return False
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    async def drain(self, seconds: float) -> None:
        """Wait until everything is done, `seconds` at most."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def stop(self) -> None:
        """End what is under way."""
        await cancel(*self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("failed behind", work=task.get_name(), error=repr(error), exc_info=error)
