"""Many open sessions on one scheduler: what it and the broker take, and how soon a death is noticed."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence

import msgspec
import psutil
from nats.aio.msg import Msg

from benchmarks.brokers import Brokers, brokers
from benchmarks.child import child
from benchmarks.holders import Holders
from benchmarks.report import Section, Table, median, percentile, ratio
from benchmarks.scheduler import Schedule
from benchmarks.watch import Watch
from schemas.bus import LEASES
from schemas.work import Assignment

MIB = 2**20
SESSIONS = (1_000, 10_000)
# Sessions whose workers die all at once, each with a turn open.
DYING = 20
NOTICED_WITHIN = 60.0


class Used(msgspec.Struct):
    """What processes took: shares of one processor, and bytes that are resident."""

    cpu: float
    resident: int


class Measured(msgspec.Struct):
    """What `count` open sessions took; `renewals` are per second, `noticed` the seconds from deaths to new assignments."""

    scheduler: Used
    bare: Used
    broker: Used
    renewals: float
    noticed: list[float]


async def run(quick: bool) -> Section:
    table = Table(
        columns=(
            "sessions", "scheduler, processors", "processors to bare", "scheduler MiB", "broker, processors", "broker MiB",
            "renewals/s", "death noticed, p50 s", "slowest s",
        )
    )  # fmt: skip
    for nodes in (1, 3):
        for count in SESSIONS[:1] if quick else SESSIONS:
            async with brokers(nodes) as running:
                _add(
                    table,
                    f"{count:,}, {nodes} node{'s' * (nodes > 1)}",
                    await _measure(running, count, quick),
                )
    told = (
        "Open idle sessions: each has a memory and a lease that a holder renews every 5 s, all on one scheduler. Bare is a"
        " subscriber that receives the same renewals and does nothing; a broker's numbers are those of all its nodes, on"
        f" disk with `sync_interval: always`. Then the process of {DYING} further holders with open turns is killed; a death"
        " is noticed when the turn's next assignment is on the bus. A lease lives 15 s. Holders share the machine's"
        " processors."
    )
    return Section(title="Open sessions", told=told, tables={"": table})


async def _measure(running: Brokers, count: int, quick: bool) -> Measured:
    idle = Holders(nats_url=running.url, channel="CIDLE", count=count)
    dying = Holders(nats_url=running.url, channel="CDYING", count=DYING, working=True)
    async with (
        child("benchmarks.holders", idle, within=600) as holders,
        child("benchmarks.scheduler", Schedule(nats_url=running.url), within=120) as scheduler,
        child("benchmarks.watch", Watch(nats_url=running.url)) as bare,
        child("benchmarks.holders", dying) as mortal,
    ):
        assert holders.answer(bool)
        of_each = [[scheduler.pid], [bare.pid], [process.pid for process in running.processes()]]
        before, began = await _last(running), time.perf_counter()
        used = await _used(of_each, 5 if quick else 20)
        renewals = (await _last(running) - before) / (time.perf_counter() - began)
        noticed = await _noticed(running, mortal.pid)
    return Measured(*used, renewals=renewals, noticed=noticed)


async def _last(running: Brokers) -> int:
    info = await running.bus.api(f"STREAM.INFO.KV_{LEASES.name}", None)
    return int(info["state"]["last_seq"])


async def _used(of_each: Sequence[Sequence[int]], seconds: float) -> list[Used]:
    groups = [[psutil.Process(pid) for pid in pids] for pids in of_each]
    before, began = [_cpu(group) for group in groups], time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    return [
        Used((_cpu(group) - was) / took, sum(process.memory_info().rss for process in group))
        for group, was in zip(groups, before, strict=True)
    ]


def _cpu(group: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in group)


async def _noticed(running: Brokers, pid: int) -> list[float]:
    """Kill `pid`; return how long after that each of its sessions was assigned anew."""
    seen: dict[str, float] = {}
    all_seen = asyncio.Event()

    async def look(message: Msg) -> None:
        assignment = Assignment.decode(message.data)
        if assignment.key.channel == "CDYING":
            seen.setdefault(assignment.session, time.perf_counter())
        if len(seen) == DYING:
            all_seen.set()

    subscription = await running.bus.client.subscribe("work.*", cb=look)
    await running.bus.client.flush()
    died = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(NOTICED_WITHIN):
            await all_seen.wait()
    await subscription.unsubscribe()
    if len(seen) < DYING:
        raise RuntimeError(f"{DYING - len(seen)} of {DYING} deaths were not noticed in {NOTICED_WITHIN:g} s")
    return [at - died for at in seen.values()]


def _add(table: Table, name: str, measured: Measured) -> None:
    table.add(
        name,
        f"{measured.scheduler.cpu:.2f}",
        ratio(measured.scheduler.cpu, measured.bare.cpu),
        f"{measured.scheduler.resident / MIB:.0f}",
        f"{measured.broker.cpu:.2f}",
        f"{measured.broker.resident / MIB:.0f}",
        f"{measured.renewals:,.0f}",
        f"{median(measured.noticed):.1f}",
        f"{percentile(measured.noticed, 1.0):.1f}",
    )
