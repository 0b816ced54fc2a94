"""Following a stream in order from a place on, across broker restarts, without a durable consumer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.pull import BATCH, Delivery, Pull, Silent
from services.runtime.readers import Start


class Follow:
    """The messages of `filters` after sequence `after`, in order, each once, for ever.

    `start` leaves out what was there before. Whoever knows that one of them is stored at `through` waits for it.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        filters: Sequence[str],
        *,
        after: int = 0,
        through: int = 0,
        start: Start = "all",
        batch: int = BATCH,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._filters = list(filters)
        self._start: Start = start
        self._batch = batch
        self._through = through
        self._last = 0
        self.position = after
        self.backlog = 0

    async def deliveries(self) -> AsyncGenerator[Delivery | None, None]:
        """Yield deliveries; yield None whenever everything stored so far has been yielded.

        At the first None the stream's leader has no more, and `through` has come; at later ones the replica that is read.
        """
        while True:
            try:
                consumer = await self._create()
                async with contextlib.aclosing(self._pull(consumer)) as pulled:
                    async for delivery in pulled:
                        yield delivery
            except (Silent, Unavailable):
                await asyncio.sleep(0.1)

    async def _pull(self, consumer: str) -> AsyncGenerator[Delivery | None, None]:
        try:
            async with Pull(
                self._bus.client, self._stream, consumer, batch=self._batch, on_idle=self._idle
            ) as pull:
                if not self.backlog and self._is_complete:
                    yield None
                place = 0
                async for delivery in pull:
                    # A client that falls behind drops messages without a word; they are read again.
                    if delivery.place != place + 1:
                        raise Silent(f"{consumer}: {delivery.place} came after {place}")
                    place = delivery.place
                    if delivery.sequence <= self.position:
                        continue
                    self.position = delivery.sequence
                    self._start = "all"
                    yield delivery
                    if not delivery.pending and self._is_complete:
                        yield None
        finally:
            self._bus.readers.forget(self._stream, consumer)

    def _idle(self) -> None:
        if not self._is_complete:  # unless what is missing was removed meanwhile, another replica has it
            raise Silent(f"{self._stream}: a replica lags behind")

    @property
    def _is_complete(self) -> bool:
        return self.position >= self._last

    async def _create(self) -> str:
        made = await self._bus.readers.make(self._stream, self._filters, self._start, self.position)
        self.backlog, self._last = made.pending, max(made.last, self._through)
        if self._start == "new":  # a consumer made anew goes on from here
            self.position, self._start = made.position, "all"
        return made.name


async def read(
    bus: Bus,
    stream: str,
    filters: Sequence[str],
    *,
    after: int = 0,
    through: int = 0,
    patience: float | None = None,
) -> list[Delivery]:
    """Return everything that `filters` hold now after sequence `after`, in order; see `Follow` for `through`.

    Raises `Unavailable` where nothing comes for `patience` seconds; without, it waits.
    """
    found: list[Delivery] = []
    loop = asyncio.get_running_loop()
    follow = Follow(bus, stream, filters, after=after, through=through)
    try:
        async with asyncio.timeout(patience) as limit, contextlib.aclosing(follow.deliveries()) as deliveries:
            async for delivery in deliveries:
                if delivery is None:
                    break
                found.append(delivery)
                if patience is not None:
                    limit.reschedule(loop.time() + patience)
    except TimeoutError as e:
        raise Unavailable(f"{stream} could not be read to its end in time") from e
    return found
