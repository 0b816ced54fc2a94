"""Pulling from a consumer: overlapping requests on one inbox, so that the broker never waits for us.

Measured beside `fetch`, this delivers two to three times as much.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Self

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.runtime.tasks import heeded

BATCH = 256
EXPIRES = 30.0
HEARTBEAT = 0.5
SILENCE = 3 * HEARTBEAT
RECONNECTED = 0.05
DRAIN = 1.0
NANOSECONDS = 1_000_000_000


class Delivery:
    """One message of a consumer.

    `sequence` is its place in the stream, `place` that among the consumer's deliveries, `pending` how many wait behind it.
    An answer that is lost with the connection raises nothing: the message comes again.
    """

    __slots__ = (
        "_client",
        "_reply",
        "data",
        "deliveries",
        "headers",
        "pending",
        "place",
        "sequence",
        "subject",
        "timestamp",
    )

    def __init__(self, client: Client, message: Msg) -> None:
        self._client = client
        self._reply = message.reply
        self.subject: str = message.subject
        self.data: bytes = message.data
        self.headers: Mapping[str, str] = message.headers or {}
        # $JS.ACK[.<domain>.<account>].<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>[.<token>]
        fields = message.reply.split(".")
        offset = 2 if len(fields) > 9 else 0
        self.deliveries = int(fields[4 + offset])
        self.sequence = int(fields[5 + offset])
        self.place = int(fields[6 + offset])
        self.timestamp = int(fields[7 + offset]) / NANOSECONDS
        self.pending = int(fields[8 + offset])

    @property
    def reply(self) -> str:
        """The subject by which it is answered."""
        return self._reply

    async def ack(self) -> None:
        """Done: never deliver it again."""
        await self._answer(b"+ACK")

    async def retry(self, delay: float) -> None:
        """Deliver it again after `delay` seconds."""
        await self._answer(b"-NAK " + msgspec.json.encode({"delay": int(delay * NANOSECONDS)}))

    async def terminate(self) -> None:
        """Never deliver it again, though it was not processed."""
        await self._answer(b"+TERM")

    async def working(self) -> None:
        """Start the consumer's ack wait anew."""
        await self._answer(b"+WPI")

    async def _answer(self, word: bytes) -> None:
        with contextlib.suppress(NatsError):
            await self._client.publish(self._reply, word)


class Silent(Exception):
    """The consumer sends nothing of use: it is gone, or the broker is, or its replica lags behind."""


class Pull:
    """An open pull on a consumer. Iterate to get deliveries; raises `Silent` when it has to be opened anew.

    With `ahead` it asks for more before it runs dry; without, only when nothing is left that it asked for. With
    `gives_back` it ends by giving back what had arrived for it and was not handed out. `on_idle` is called every
    `HEARTBEAT` seconds in which the consumer has nothing to send, and may raise `Silent`.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        consumer: str,
        *,
        batch: int = BATCH,
        ahead: bool = True,
        gives_back: bool = False,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._batch = batch
        self._low = batch // 2 if ahead else -1
        self._gives_back = gives_back
        self._on_idle = on_idle
        self._outstanding = 0
        self._arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        """Listen, and ask for the first messages, as soon as the broker is there."""
        # What is subscribed and given up while disconnected would be subscribed at the reconnection all the same
        # (nats-py sends no UNSUB then), and messages would go to where nobody listens.
        while not (self._client.is_connected or self._client.is_closed):  # noqa: ASYNC110 (nats-py has no event)
            await asyncio.sleep(RECONNECTED)
        self._subscription = await self._client.subscribe(self._inbox, cb=self._arrived.put)
        await self._ask()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; what was not acknowledged comes again elsewhere, at once what was not yet handed out."""
        if self._subscription is None or self._client.is_closed:
            return
        if not (self._gives_back and self._client.is_connected):
            await self._subscription.unsubscribe()
            return
        with contextlib.suppress(NatsError, TimeoutError):
            async with asyncio.timeout(DRAIN):
                await heeded(self._subscription.drain())  # type: ignore[no-untyped-call]  # nats-py does not type it
        while not self._arrived.empty():
            message = self._arrived.get_nowait()
            if message.reply.startswith("$JS.ACK."):
                await Delivery(self._client, message).retry(0)

    async def __aiter__(self) -> AsyncGenerator[Delivery, None]:
        """Yield deliveries for ever. Raises `Silent`."""
        while True:
            try:
                message = self._arrived.get_nowait()
            except asyncio.QueueEmpty:
                message = await self._wait()
            if message.reply.startswith("$JS.ACK."):
                self._outstanding -= 1
                if self._outstanding <= self._low:
                    await self._ask()
                yield Delivery(self._client, message)
            else:
                await self._heed(message.headers or {})

    async def _wait(self) -> Msg:
        if not self._outstanding:
            await self._ask()
        try:
            async with asyncio.timeout(SILENCE):
                return await self._arrived.get()
        except TimeoutError as e:
            raise Silent(self._next) from e

    async def _ask(self) -> None:
        wanted = self._batch - self._outstanding
        request = {
            "batch": wanted,
            "expires": int(EXPIRES * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT * NANOSECONDS),
        }
        self._outstanding += wanted
        await self._client.publish(self._next, msgspec.json.encode(request), reply=self._inbox)

    async def _heed(self, headers: Mapping[str, str]) -> None:
        status = headers.get("Status")
        if status == "100":
            self._on_idle()
            return
        if status in {"404", "408", "409"} and "Nats-Pending-Messages" in headers:
            self._outstanding -= int(headers["Nats-Pending-Messages"])
            if self._outstanding <= self._low:
                await self._ask()
            return
        raise Silent(f"{self._next}: {status} {headers.get('Description', '')}")
