"""Our pull loop beside nats-py's `fetch`, on the same stream, every message acknowledged."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from benchmarks.report import Section, Table, median, ratio
from services.local.broker import running_broker
from services.runtime.pull import Pull

STREAM = "BENCH"
MESSAGE = b"x" * 512
ROUNDS = 3
FETCH = 100
WITHIN = 120.0

Drain = Callable[[Client, str, int], Awaitable[None]]


async def run(quick: bool) -> Section:
    count = 2_000 if quick else 20_000
    async with _filled_stream(count) as client:
        rates: dict[str, list[float]] = {"fetch": [], "pull": []}
        for number in range(ROUNDS):
            for name, drain in (("fetch", _fetch), ("pull", _pull)):
                rates[name].append(count / await _timed(client, f"{name}-{number}", drain, count))
    bare, ours = median(rates["fetch"]), median(rates["pull"])
    table = Table(columns=("consumer", "messages/s", "messages/s to fetch"), bare=("nats-py",))
    table.add(f"nats-py `fetch({FETCH})`", f"{bare:,.0f}", "1.00x")
    table.add("our pull loop", f"{ours:,.0f}", ratio(ours, bare))
    told = (
        f"{count:,} messages of {len(MESSAGE)} B of a file stream on one `nats-server`, each acknowledged;"
        f" the median of {ROUNDS} rounds each, in turns."
    )
    return Section(title="Pull", told=told, tables={"": table})


@contextlib.asynccontextmanager
async def _filled_stream(count: int) -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory() as folder:
        async with running_broker(Path(folder)) as broker:
            client = await nats.connect(broker.url)
            try:
                await client.jetstream().add_stream(StreamConfig(name=STREAM, subjects=["bench.>"]))
                await _fill(client, count)
                yield client
            finally:
                await client.close()


async def _fill(client: Client, count: int) -> None:
    stream = client.jetstream()
    for start in range(0, count, 250):
        places = range(start, min(start + 250, count))
        await asyncio.gather(*(stream.publish(f"bench.{place}", MESSAGE) for place in places))


async def _timed(client: Client, consumer: str, drain: Drain, count: int) -> float:
    config = ConsumerConfig(durable_name=consumer, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=4096)
    await client.jetstream().add_consumer(STREAM, config)
    async with asyncio.timeout(WITHIN):
        began = time.perf_counter()
        await drain(client, consumer, count)
        await client.flush()
        return time.perf_counter() - began


async def _fetch(client: Client, consumer: str, count: int) -> None:
    subscription = await client.jetstream().pull_subscribe_bind(consumer, STREAM)
    while count > 0:
        for message in await subscription.fetch(FETCH):
            await message.ack()
            count -= 1


async def _pull(client: Client, consumer: str, count: int) -> None:
    async with Pull(client, STREAM, consumer) as pull:
        async for delivery in pull:
            await delivery.ack()
            count -= 1
            if not count:
                return
