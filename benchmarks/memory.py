"""What local mode and an idle warm worker take, beside a bare Python that holds a connection to the same broker."""

import contextlib
from collections.abc import AsyncIterator

import psutil

from benchmarks.child import child
from benchmarks.idle import Idle
from benchmarks.local_mode import LocalMode, Run, local_mode
from benchmarks.report import Section, Table, median, ratio

MIB = 2**20
WORKER = "services.worker"
BROKER = "nats-server"
SDK = ("claude_agent_sdk",)
MANY = 20


async def run(quick: bool) -> Section:
    table = Table(columns=("process", "resident MiB", "of it its own MiB", "resident to bare"))
    async with _running("recorded") as mode, _idle(mode, ()) as bare_pid, _idle(mode, SDK) as sdk_pid:
        bare = psutil.Process(bare_pid)
        resident = bare.memory_info().rss
        _add(table, "bare: Python, uvloop, nats-py, connected", bare, resident)
        _add(table, "bare, and `claude_agent_sdk` imported", psutil.Process(sdk_pid), resident)
        dev = psutil.Process(mode.pid)
        _add(table, "`threadmill dev`: four services, simulator and page, idle", dev, resident)
        _add(table, "its `nats-server`", _only(dev, BROKER), resident)
        _add(table, "an idle warm worker, recorded", _only(dev, WORKER), resident)
        for _ in range(1 if quick else 10):
            await mode.end(await mode.say("hello"))
        _add(table, f"`threadmill dev` after {1 if quick else 10} turns", dev, resident)
    async with _running("claude") as mode:
        _add(table, "an idle warm worker, claude", _only(psutil.Process(mode.pid), WORKER), resident)
    many = 2 if quick else MANY
    async with _running("claude", many) as mode:
        workers = _all(psutil.Process(mode.pid), WORKER)
        infos = [worker.memory_full_info() for worker in workers[:many]]
        own = median([info.uss / MIB for info in infos])
        rss = median([float(info.rss) for info in infos])
        table.add(
            f"one of {len(infos)} warm workers, claude, the median",
            f"{rss / MIB:.0f}",
            f"{own:.0f}",
            ratio(rss, resident),
        )
    told = "Resident memory counts shared libraries in every process; the third column is what would be freed with it."
    return Section(title="Memory", told=told, tables={"": table})


@contextlib.asynccontextmanager
async def _running(agent: str, workers: int = 1) -> AsyncIterator[LocalMode]:
    settings = {"THREADMILL_RECORDING_SPEED": "0", "THREADMILL_IDLE_SECONDS": "1"}
    async with local_mode(
        Run(agent=agent, worker=settings, warm=workers, max_workers=max(8, workers))
    ) as mode:
        await mode.warm(workers)
        yield mode


@contextlib.asynccontextmanager
async def _idle(mode: LocalMode, modules: tuple[str, ...]) -> AsyncIterator[int]:
    told = Idle(nats_url=mode.nats_url, creds=mode.creds, modules=modules)
    async with child("benchmarks.idle", told) as process:
        process.answer(bool)
        yield process.pid


def _only(parent: psutil.Process, named: str) -> psutil.Process:
    (found,) = _all(parent, named)
    return found


def _all(parent: psutil.Process, named: str) -> list[psutil.Process]:
    return [one for one in parent.children(recursive=True) if any(named in part for part in one.cmdline())]


def _add(table: Table, name: str, process: psutil.Process, bare: int) -> None:
    memory = process.memory_full_info()
    table.add(name, f"{memory.rss / MIB:.0f}", f"{memory.uss / MIB:.0f}", ratio(memory.rss, bare))
