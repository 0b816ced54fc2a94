"""The bounded queue between an agent's reader and whoever follows its events."""

import asyncio
from collections.abc import AsyncIterator

from .protocol import AgentEvent

EVENTS_KEPT = 10_000


class EventQueue:
    """Events in order, until `end`; a follower that is far behind holds the agent up."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue(EVENTS_KEPT)

    async def put(self, event: AgentEvent) -> None:
        """Add an event; waits while the queue is full."""
        await self._queue.put(event)

    def end(self) -> None:
        """Let the follower end after what is queued; of a full queue the oldest event makes room."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def follow(self) -> AsyncIterator[AgentEvent]:
        """Yield events until the end."""
        while (event := await self._queue.get()) is not None:
            yield event
