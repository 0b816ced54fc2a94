"""Working off a durable consumer: each lane in order, lanes beside each other, poison out of the way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from schemas.bus import Consumer
from services.runtime.bus import Bus
from services.runtime.dead_letters import bury
from services.runtime.errors import NOT_NOW, Reject, Retry, TooLarge
from services.runtime.metrics import DEAD_LETTERS, HANDLED
from services.runtime.pull import Delivery, Pull, Silent
from services.runtime.tracing import span

log = structlog.get_logger(__name__)

# A message that failed this often will fail again: it becomes a dead letter.
MAX_DELIVERIES = 5
RETRY_SECONDS = 1.0

Handler = Callable[[Delivery], Awaitable[None]]
LaneOf = Callable[[Delivery], str]


class Consume:
    """Feeds `handle` from `consumer`, one at a time per lane; a lane is whatever `lane_of` says.

    A message that is tried again comes after those that arrived behind it meanwhile. What waits in a lane or is being
    worked on stays ours, however long that takes. While the broker is away or a stream is full, no try counts.
    """

    def __init__(self, bus: Bus, consumer: Consumer, service: str, handle: Handler, lane_of: LaneOf) -> None:
        self._bus = bus
        self._consumer = consumer
        self._service = service
        self._handle = handle
        self._lane_of = lane_of
        self._lanes: dict[str, deque[Delivery]] = {}
        DEAD_LETTERS.labels(service)  # a counter that appears with its first letter shows no increase

    async def run(self) -> None:
        """Work for ever; cancelling finishes nothing, loses nothing and gives back at once what was begun."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_alive(), name=f"keep {self._consumer.name}")
                await self._pull(tasks)
        finally:
            for delivery in self._held():
                await delivery.retry(0)
            self._lanes.clear()

    async def _pull(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                stream, name = self._consumer.stream, self._consumer.name
                async with Pull(self._bus.client, stream, name, gives_back=True) as pull:
                    async for delivery in pull:
                        self._enqueue(delivery, tasks)
            except Silent as silence:
                log.info("pulling anew", consumer=self._consumer.name, reason=str(silence))
                await asyncio.sleep(0.1)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._consumer.ack_wait / 3)
            for delivery in self._held():
                await delivery.working()

    def _held(self) -> list[Delivery]:
        return [delivery for lane in self._lanes.values() for delivery in lane]

    def _enqueue(self, delivery: Delivery, tasks: asyncio.TaskGroup) -> None:
        name = self._lane_of(delivery)
        lane = self._lanes.get(name)
        if lane is not None:
            lane.append(delivery)
            return
        self._lanes[name] = deque([delivery])
        tasks.create_task(self._work_off(name), name=f"lane {name}")

    async def _work_off(self, name: str) -> None:
        lane = self._lanes[name]
        while lane:
            await self._process(lane[0])
            lane.popleft()
        del self._lanes[name]

    async def _process(self, delivery: Delivery) -> None:
        with span(f"{self._service} {self._consumer.name}", delivery.headers):
            try:
                await self._handle(delivery)
            except Retry as e:
                await self._again(delivery, str(e), e.delay)
            except Reject as e:
                await self._bury(delivery, str(e))
            except NOT_NOW as e:
                await delivery.retry(RETRY_SECONDS)
                log.warning("the bus is away or full", consumer=self._consumer.name, error=str(e))
            except Exception as e:
                log.exception("handler failed", consumer=self._consumer.name, sequence=delivery.sequence)
                await self._again(delivery, f"{type(e).__name__}: {e}", RETRY_SECONDS)
            else:
                HANDLED.labels(self._service, self._consumer.name).inc()
                await delivery.ack()

    async def _again(self, delivery: Delivery, reason: str, delay: float) -> None:
        if delivery.deliveries >= MAX_DELIVERIES:
            await self._bury(delivery, reason)
        else:
            await delivery.retry(delay)

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        try:
            await bury(self._bus, self._service, delivery, reason)
        except (TooLarge, *NOT_NOW) as e:
            log.warning("no dead letter yet", sequence=delivery.sequence, error=str(e))
            await delivery.retry(RETRY_SECONDS)
        else:
            DEAD_LETTERS.labels(self._service).inc()
            await delivery.terminate()
