"""The consumers by which one reads a stream in order: made for oneself, or by somebody who may."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from services.runtime.asking import Asking
from services.runtime.errors import Unavailable
from services.runtime.pull import NANOSECONDS
from services.runtime.tasks import unattended

# A time is that of the first message's storage.
Start = Literal["all", "new", "last_per_subject"] | datetime

# In memory and unreplicated: 1.8 ms to make, where a replicated durable one costs 63 ms.
INACTIVE = 30.0
# The server's `JSConsumerAlreadyExists`.
ALREADY_THERE = 10148
_EVER = datetime.min.replace(tzinfo=UTC)


class Made(msgspec.Struct, frozen=True):
    """A consumer: `pending` messages wait for it, and it goes on after the stream's sequence `position`.

    It may live on a replica that lags behind: all that was stored has come once the sequence `last` has.
    """

    name: str
    pending: int
    position: int = 0
    last: int = 0


class Readers(Protocol):
    """Makes consumers of `stream` that read `filters`. Raises `Unavailable`."""

    async def make(self, stream: str, filters: Sequence[str], start: Start, after: int) -> Made:
        """Return a consumer that begins by `start`, or after the sequence `after` where that is given."""

    def forget(self, stream: str, name: str) -> None:
        """A consumer is not needed any more; nobody waits until it is gone."""


def reader_config(name: str, filters: Sequence[str], start: Start, after: int) -> dict[str, Any]:
    """Return a consumer for reading, in the server's words."""
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(INACTIVE * NANOSECONDS),
        "filter_subjects": list(filters),
    }
    return config | _from(start, after)


def _from(start: Start, after: int) -> dict[str, Any]:
    if isinstance(start, datetime):
        return {"deliver_policy": "by_start_time", "opt_start_time": start.astimezone(UTC).isoformat()}
    if start == "all" and after:
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
    return {"deliver_policy": start}


class OwnReaders:
    """Makes them for oneself, each under a name of its own."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def make(self, stream: str, filters: Sequence[str], start: Start, after: int) -> Made:
        """Return a new consumer. Raises `Unavailable`."""
        return await self.make_named(self._asking.new_id(), stream, filters, start, after)

    async def make_named(
        self, name: str, stream: str, filters: Sequence[str], start: Start, after: int
    ) -> Made:
        """Return the consumer `name`, in place of one that there may be. Raises `Unavailable`."""
        # Asked again for want of an answer, the broker knows this request by its mark; another's consumer has another.
        config = reader_config(name, filters, start, after) | {"metadata": {"made": self._asking.new_id()}}
        answer, last = await asyncio.gather(self._create(stream, config), self._last(stream, filters, start))
        if answer.get("error", {}).get("err_code") == ALREADY_THERE:
            await self._asking.api(f"CONSUMER.DELETE.{stream}.{name}", None)
            answer = await self._create(stream, config)
        if "error" in answer:
            raise Unavailable(f"{stream}: {answer['error'].get('description')}")
        return Made(name, int(answer["num_pending"]), int(answer["delivered"]["stream_seq"]), last)

    async def _last(self, stream: str, filters: Sequence[str], start: Start) -> int:
        """Return the sequence of the last message that there is to read, as the stream's leader knows it."""
        if start == "new":
            return 0
        found = await asyncio.gather(*(self._asking.last(stream, each) for each in filters))
        since = start.astimezone(UTC) if isinstance(start, datetime) else _EVER
        return max((each.sequence for each in found if each and each.stored_at > since), default=0)

    async def _create(self, stream: str, config: dict[str, Any]) -> dict[str, Any]:
        request = {"stream_name": stream, "config": config, "action": "create"}
        return await self._asking.api(f"CONSUMER.CREATE.{stream}.{config['name']}", request)

    def forget(self, stream: str, name: str) -> None:
        """Delete it. Nobody waits for the answer: a consumer that is not deleted ends by its inactivity."""
        client = self._asking.client
        if client.is_connected:
            unattended(asyncio.create_task(client.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"")))
