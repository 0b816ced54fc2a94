"""Reads the log once for all partitions that are ours, and listens to what is live."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog
from nats.aio.msg import Msg

from schemas.base import MalformedMessage
from schemas.bus import CONTROL, END, IN, OUT, SESSIONS
from schemas.keys import InvalidKey, SessionKey
from schemas.live import LIVES, ResourceSample
from services.ingress.writer.metrics import give_up
from services.ingress.writer.partition import Partition, partition_of
from services.ingress.writer.samples import Samples
from services.runtime.bus import Bus
from services.runtime.follow import Follow
from services.runtime.pull import Delivery
from services.runtime.tasks import cancel

log = structlog.get_logger(__name__)


class Reader:
    """Feeds partitions from the earliest place that one of them has; each passes over what it has taken already."""

    def __init__(self, bus: Bus, partitions: Callable[[], Mapping[int, Partition]], samples: Samples) -> None:
        self._bus = bus
        self._partitions = partitions
        self._samples = samples
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """There are other partitions now."""
        self._changed.set()

    async def run(self) -> None:
        """Read for ever."""
        subscription = await self._bus.client.subscribe("live.>", cb=self._hear)
        try:
            while True:
                self._changed.clear()
                following = asyncio.create_task(self._follow(), name="follow")
                changed = asyncio.create_task(self._changed.wait(), name="changed")
                try:
                    await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel(following, changed)
        finally:
            if not self._bus.client.is_closed:
                await subscription.unsubscribe()

    async def _follow(self) -> None:
        # A partition that becomes ours on the way has its place behind ours: it waits for the next reading.
        served = dict(self._partitions())
        if not served:
            await asyncio.Event().wait()
        after = min(partition.taken for partition in served.values())
        follow = Follow(self._bus, SESSIONS.name, [IN, CONTROL, OUT, END], after=after)
        async with contextlib.aclosing(follow.deliveries()) as deliveries:
            async for delivery in deliveries:
                if delivery is None:
                    for partition in served.values():
                        partition.passed(follow.position)
                else:
                    _give(served, delivery)

    async def _hear(self, message: Msg) -> None:
        try:
            key = SessionKey.parse(message.subject.removeprefix("live."))
            heard = LIVES.decode(message.data)
        except (MalformedMessage, InvalidKey):
            give_up("live", "malformed")
            return
        if isinstance(heard, ResourceSample):
            self._samples.note(key, heard)
        elif partition := self._partitions().get(partition_of(key)):
            partition.hear(key, heard)


def _give(served: Mapping[int, Partition], delivery: Delivery) -> None:
    _, team, channel, thread, leaf, *rest = delivery.subject.split(".")
    try:
        key = SessionKey(team, channel, thread)
    except InvalidKey as e:
        give_up("event", "malformed")
        log.warning("an event of no session is passed over", subject=delivery.subject, error=str(e))
        return
    if partition := served.get(partition_of(key)):
        first = leaf == "in" and rest == [thread]
        partition.take(key, delivery.sequence, leaf, delivery.data, first=first)
