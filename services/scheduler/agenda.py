"""What has to be looked at, and when: one place for what the turns of every session wait for."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from schemas.base import now
from schemas.keys import SessionKey
from services.runtime.errors import NOT_NOW, TooLarge

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


class Agenda:
    """Calls `advance` for a session at once or at its time; one that fails is looked at again, unless no later try can help."""

    def __init__(self) -> None:
        self._due: asyncio.Queue[SessionKey] = asyncio.Queue()
        self._timers: dict[SessionKey, asyncio.TimerHandle] = {}
        self._queued: set[SessionKey] = set()

    def soon(self, key: SessionKey) -> None:
        """Look at `key` as soon as possible."""
        if key not in self._queued:
            self._queued.add(key)
            self._due.put_nowait(key)

    def at(self, key: SessionKey, when: datetime | None) -> None:
        """Look at `key` at `when`, instead of any time before; None for never."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if when is not None:
            self.after(key, max(0.0, (when - now()).total_seconds()))

    def after(self, key: SessionKey, seconds: float) -> None:
        """Look at `key` in `seconds`, instead of any time before."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self._ring, key)

    def _ring(self, key: SessionKey) -> None:
        self._timers.pop(key, None)
        self.soon(key)

    async def run(self, advance: Callable[[SessionKey], Awaitable[None]]) -> None:
        """Work off what is due, sessions beside each other, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                key = await self._due.get()
                self._queued.discard(key)
                tasks.create_task(self._try(advance, key), name=f"advance {key}")

    async def _try(self, advance: Callable[[SessionKey], Awaitable[None]], key: SessionKey) -> None:
        try:
            await advance(key)
        except NOT_NOW as e:
            log.warning("the bus is away or full", session=str(key), error=str(e))
            self.after(key, AGAIN_SECONDS)
        except TooLarge:  # it stays so until something more is heard of the session
            log.exception("a session cannot be advanced", session=str(key))
        except Exception:
            log.exception("a session could not be advanced", session=str(key))
            self.after(key, AGAIN_SECONDS)
