"""Whether the object store can be used, for the readiness page, the metrics and the log."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.archiver import metrics
from services.archiver.backend import Corrupt, StoreError
from services.runtime import errors

log = structlog.get_logger(__name__)

_FIRST, _LONGEST = 0.5, 30.0  # seconds between tries

T = TypeVar("T")


class StoreHealth:
    """The last thing that is known of the store."""

    def __init__(self) -> None:
        self.reason = ""
        self._corrupt: set[str] = set()

    @property
    def usable(self) -> bool:
        """Whether the last call went well."""
        return not self.reason

    def tell(self, reason: str) -> None:
        """Take note of why the store cannot be used, or, with an empty reason, that it can."""
        if reason and not self.reason:
            log.warning("the archive waits; the stream keeps everything", reason=reason)
        elif self.reason and not reason:
            log.info("the archive goes on")
        self.reason = reason
        metrics.STORE_AWAY.set(bool(reason))

    async def until_done(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, trying again for ever, at most every 30 s in the end."""
        pause = _FIRST
        while True:
            try:
                done = await attempt()
            except StoreError as e:
                if isinstance(e, Corrupt):  # that is one session's trouble
                    self._count(self._corrupt | {what})
                else:
                    self.tell(str(e))
                log.warning("the archive tries again", what=what, seconds=pause, reason=str(e))
            except errors.NOT_NOW as e:
                log.warning("the archive waits for the bus", what=what, seconds=pause, reason=str(e))
            else:
                self.tell("")
                self._count(self._corrupt - {what})
                return done
            await asyncio.sleep(pause)
            pause = min(_LONGEST, 2 * pause)

    def _count(self, corrupt: set[str]) -> None:
        self._corrupt = corrupt
        metrics.CORRUPT.set(len(corrupt))
