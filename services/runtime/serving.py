"""Answering requests, which the replicas of a service share: short ones, and only so many of each asker."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg

from services.runtime.metrics import REFUSED

MOST_WAITING = 1000
# Who asks stands in the subject; nobody has more to ask at once.
MOST_OF_ONE = 8
# Ten times the longest that anybody asks.
MOST_BYTES = 16 * 1024


class Serving:
    """Has `answer` answer what `service` is asked on `subject`, at most `at_once` beside each other.

    What comes while too much waits is dropped: whoever asked asks again.
    """

    def __init__(
        self,
        client: Client,
        service: str,
        subject: str,
        answer: Callable[[Msg], Awaitable[None]],
        *,
        at_once: int,
    ) -> None:
        self._client = client
        self._service = service
        self._subject = subject
        self._answer = answer
        self._slots = asyncio.Semaphore(at_once)
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue(MOST_WAITING)
        self._under_way: Counter[str] = Counter()
        # A subject without a place for the asker is the operators' alone.
        self._most_of_one = MOST_OF_ONE if "*" in subject else MOST_WAITING

    async def run(self) -> None:
        """Answer for ever."""
        subscription = await self._client.subscribe(self._subject, queue=self._service, cb=self._hear)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    message = await self._arrived.get()
                    await self._slots.acquire()
                    tasks.create_task(self._serve(message), name=self._subject)
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def _hear(self, message: Msg) -> None:
        if self._arrived.full() or self._under_way[message.subject] >= self._most_of_one:
            REFUSED.labels(self._service, "overload").inc()
            return
        if len(message.data) > MOST_BYTES:
            message.data = b""  # which is no message of any kind, and waits without its weight
        self._under_way[message.subject] += 1
        self._arrived.put_nowait(message)

    async def _serve(self, message: Msg) -> None:
        try:
            await self._answer(message)
        finally:
            self._slots.release()
            self._under_way[message.subject] -= 1
            if not self._under_way[message.subject]:
                del self._under_way[message.subject]
