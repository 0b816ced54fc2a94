"""Slack's event until its 200, beside slack-bolt that does nothing and the bare parts that ours is made of."""

import contextlib
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from benchmarks.ack_load import Load, Taken
from benchmarks.ack_server import KINDS, PATH, Serve, Serving
from benchmarks.brokers import brokers
from benchmarks.child import child
from benchmarks.report import Section, Table, median, ms, percentile, ratio
from schemas.bus import SESSIONS
from services.local.slack.app import Simulator
from services.runtime.bus import Bus

ROUNDS = 3
# How many events Slack sends at once: a quiet workspace, a busy one, and as many as can be.
CONNECTIONS = (1, 8, 128)
DOES = {
    "aiohttp": "bare echo",
    "aiohttp + publish": "bare echo after a bare JetStream publish",
    "slack-bolt": "signature checked, nothing done, nothing kept",
    "threadmill": "signature checked, input stored once and in order",
}
BARE = ("aiohttp", "slack-bolt")
COLUMNS = (
    "receiving end",
    "p50 ms",
    "p99 ms",
    "events/s",
    "p50 to bolt",
    "p50 to bare publish",
    "events/s to bolt",
)


class Measured(msgspec.Struct):
    """The medians of a receiving end's rounds."""

    p50: float
    p99: float
    rate: float


class Stage:
    """The broker and Slack that all receiving ends share."""

    def __init__(self, serve: Serve, bus: Bus) -> None:
        self._serve = serve
        self._bus = bus

    async def round(self, kind: str, connections: int, count: int) -> Taken:
        """Load a fresh server of `kind` once."""
        before = await self._stored()
        told = msgspec.structs.replace(self._serve, kind=kind)
        async with child("benchmarks.ack_server", told) as server:
            load = Load(
                port=server.answer(Serving).port,
                path=PATH,
                signing_secret=self._serve.signing_secret,
                connections=connections,
                count=count,
            )
            async with child("benchmarks.ack_load", load, within=120) as client:
                taken = client.answer(Taken)
        self._check(kind, taken, count, await self._stored() - before)
        return taken

    async def _stored(self) -> int:
        info = await self._bus.api(f"STREAM.INFO.{SESSIONS.name}", None)
        return int(info["state"]["messages"])

    @staticmethod
    def _check(kind: str, taken: Taken, count: int, stored: int) -> None:
        """A number counts only if the work was done. Raises `RuntimeError`."""
        if taken.refused:
            raise RuntimeError(f"{kind} refused {taken.refused} of {count} events")
        if kind == "threadmill" and stored < count:
            raise RuntimeError(f"{kind} acknowledged {count} events and stored {stored}")


async def run(quick: bool) -> Section:
    count = 200 if quick else 2_000
    section = Section(
        title="Acknowledgement",
        told=(
            "A signed `app_mention`, each in a thread of its own, until its 200, sent back to back over kept-alive"
            " connections by a load generator in its own process. Each `nats-server` has `sync_interval: always`:"
            f" an acknowledged input is on disk. All ends run on uvloop, one process each; the median of {ROUNDS} rounds"
            f" of {count:,} events (40 a connection, where that is more), in turns. Generator, server and broker share the machine's processors."
        ),
    )
    for nodes in (1, 3):
        async with _stage(nodes) as stage:
            for connections in CONNECTIONS:
                measured = await _measure(stage, connections, max(count, 40 * connections))
                caption = (
                    f"{connections} connection{'s' * (connections > 1)}, {nodes} node{'s' * (nodes > 1)}"
                )
                section.tables[caption] = _table(measured)
    return section


async def _measure(stage: Stage, connections: int, count: int) -> dict[str, Measured]:
    rounds: dict[str, list[Taken]] = {kind: [] for kind in KINDS}
    for _ in range(ROUNDS):
        for kind in KINDS:
            rounds[kind].append(await stage.round(kind, connections, count))
    return {kind: _medians(taken) for kind, taken in rounds.items()}


def _medians(rounds: list[Taken]) -> Measured:
    return Measured(
        p50=median([percentile(taken.latencies, 0.5) for taken in rounds]),
        p99=median([percentile(taken.latencies, 0.99) for taken in rounds]),
        rate=median([len(taken.latencies) / taken.seconds for taken in rounds]),
    )


def _table(measured: dict[str, Measured]) -> Table:
    table, bolt, bare = (
        Table(columns=COLUMNS, bare=BARE),
        measured["slack-bolt"],
        measured["aiohttp + publish"],
    )
    for kind, one in measured.items():
        table.add(
            f"{kind} ({DOES[kind]})",
            ms(one.p50),
            ms(one.p99),
            f"{one.rate:,.0f}",
            ratio(one.p50, bolt.p50),
            ratio(one.p50, bare.p50),
            ratio(one.rate, bolt.rate),
        )
    return table


@contextlib.asynccontextmanager
async def _stage(nodes: int) -> AsyncIterator[Stage]:
    async with brokers(nodes) as running, _slack() as (simulator, url):
        bench = {"name": "BENCH", "subjects": ["bench.>"], "num_replicas": nodes}
        await running.bus.api("STREAM.CREATE.BENCH", bench)
        serve = Serve(
            kind="aiohttp",
            nats_url=running.url,
            slack_url=url,
            bot_token=simulator.bot_token,
            signing_secret=simulator.signing_secret,
        )
        yield Stage(serve, running.bus)


@contextlib.asynccontextmanager
async def _slack() -> AsyncIterator[tuple[Simulator, str]]:
    simulator = Simulator()
    runner = web.AppRunner(simulator.app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield simulator, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
