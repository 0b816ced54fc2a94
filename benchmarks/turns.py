"""Turns through the whole pipeline, many threads at once, beside the writes alone that they cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.local_mode import LocalMode, Run, local_mode
from benchmarks.report import Section, Table, ratio
from schemas.keys import SessionKey
from schemas.rights import EVERYTHING

THREADS = 8
WORKER = {"THREADMILL_IDLE_SECONDS": "60", "THREADMILL_RECORDING_SPEED": "0"}


async def run(quick: bool) -> Section:
    rounds = 5 if quick else 50
    section = Section(
        title="Turns",
        told=(
            f"{THREADS} threads at once, each with its worker, a recording that takes no time, the next message as soon as a turn"
            " has ended: all of local mode, Slack's simulator among it, in one process. Bare stores as many messages as a"
            " turn does in as many tasks over one connection; each is on disk."
        ),
    )
    for nodes in (1, 3):
        section.tables[f"{nodes} node{'s' * (nodes > 1)}"] = await _measure(nodes, rounds)
    return section


async def _measure(nodes: int, rounds: int) -> Table:
    async with local_mode(Run(agent="recorded", worker=WORKER, max_workers=THREADS, nodes=nodes)) as mode:
        keys = [await _begun(mode) for _ in range(THREADS)]
        before = await _stored(mode)
        seconds = await _at_once(lambda place: _turns(mode, keys[place], rounds))
        writes = round((await _stored(mode) - before) / (THREADS * rounds))
        stream = mode.bus.client.jetstream()

        async def bare(place: int) -> None:
            for number in range(rounds * writes):
                await stream.publish(f"audit.bench{place}.{number}", b"x" * 256)

        raw = await _at_once(bare)
    turns = THREADS * rounds
    table = Table(columns=("who", "turns/s", "stored messages/s", "turns/s to bare"))
    table.add(f"bare: the {writes} writes of a turn", *_rates(raw, turns, writes), "1.00x")
    table.add("threadmill", *_rates(seconds, turns, writes), ratio(raw, seconds))
    return table


def _rates(seconds: float, turns: int, writes: int) -> tuple[str, str]:
    return f"{turns / seconds:,.1f}", f"{turns * writes / seconds:,.0f}"


async def _at_once(work: Callable[[int], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(work(place) for place in range(THREADS)))
    return time.perf_counter() - began


async def _begun(mode: LocalMode) -> SessionKey:
    key = await mode.say("hello")
    await mode.end(key)
    return key


async def _turns(mode: LocalMode, key: SessionKey, rounds: int) -> None:
    for number in range(rounds):
        mode.seen.ended[str(key)].clear()
        await mode.reply(key, f"go on, {number}")
        await mode.end(key)


async def _stored(mode: LocalMode) -> int:
    infos = [await mode.bus.api(f"STREAM.INFO.{name}", None) for name in EVERYTHING]
    return sum(int(info["state"]["last_seq"]) for info in infos)
