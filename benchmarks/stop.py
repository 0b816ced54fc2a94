"""A person's stop until the turn's end is stored, the agent busy with a tool, in the real composition."""

import asyncio
import time

import psutil

from benchmarks.local_mode import LocalMode, Run, local_mode
from benchmarks.report import Section, Table, median, ms, percentile
from schemas.keys import SessionKey
from services.runtime.follow import read
from tests.messages_api import Call, MessagesApi

WORKER = {"THREADMILL_IDLE_SECONDS": "1", "THREADMILL_PERMISSION_MODE": "sandboxed"}
PROMISED_SECONDS = 1.0
SLEEP = "sleep 4711"
# Slack ends at least 20 streams a minute; a stop among more of them would wait for that.
EVERY_SECONDS = 3.0
COLUMNS = ("until", "p50 ms", "p99 ms", "most ms")


async def run(quick: bool) -> Section:
    section = Section(
        title="Stop",
        told=(
            "The real Claude Code runs a command that would sleep for an hour; a person presses Slack's Stop. Measured from the"
            " press until the turn's end is stored, which is written when the work is saved, and until Slack is given the final"
            " message. Nothing of the command's process tree is left by then, or the benchmark fails."
        ),
    )
    for nodes in (1, 3):
        stops = await _stops(nodes, 3 if quick else 30)
        table = Table(columns=COLUMNS)
        for place, what in enumerate(("the end is stored", "Slack has the final message")):
            took = [stop[place] for stop in stops]
            table.add(what, ms(median(took)), ms(percentile(took, 0.99)), ms(max(took)))
        section.tables[f"{len(stops)} stops, {nodes} node{'s' * (nodes > 1)}"] = table
    return section


async def _stops(nodes: int, count: int) -> list[tuple[float, float]]:
    async with MessagesApi() as model:
        environ = {"ANTHROPIC_API_KEY": "stub", "ANTHROPIC_BASE_URL": model.url, "IS_SANDBOX": "1"}
        given = Run(agent="claude", environ=environ, worker=WORKER, warm=1, nodes=nodes)
        async with local_mode(given) as mode:
            stops = [await _paced(mode, model) for _ in range(count)]
    if median([stop[1] for stop in stops]) >= PROMISED_SECONDS:
        raise RuntimeError("a stop takes a second or more")
    return stops


async def _paced(mode: LocalMode, model: MessagesApi) -> tuple[float, float]:
    stop, _ = await asyncio.gather(_stop(mode, model), asyncio.sleep(EVERY_SECONDS))
    return stop


async def _stop(mode: LocalMode, model: MessagesApi) -> tuple[float, float]:
    await mode.warm(1)
    model.reply_to("work", Call("Bash", {"command": SLEEP}))
    key = await mode.say("work")
    while not _sleepers():  # noqa: ASYNC110 (a process announces itself to nobody)
        await asyncio.sleep(0.02)
    pressed = time.time()
    await mode.stop(key)
    await mode.end(key)
    if _sleepers():
        raise RuntimeError("the command outlived its turn")
    return await _stored(mode, key) - pressed, await _shown(mode, key) - pressed


async def _stored(mode: LocalMode, key: SessionKey) -> float:
    """Return when the turn's end was stored, which is a moment after it is seen on the bus."""
    while True:
        for end in await read(mode.bus, "SESSIONS", [f"session.{key}.end.*"]):
            return end.timestamp
        await asyncio.sleep(0.02)


async def _shown(mode: LocalMode, key: SessionKey) -> float:
    """Return when Slack's API was given the final message."""
    while True:
        for call in await mode.calls():
            args = call["args"]
            kind = (args.get("metadata") or {}).get("event_type")
            if kind == "threadmill_turn" and args["metadata"]["event_payload"]["session"] == str(key):
                return float(call["at"])
        await asyncio.sleep(0.02)


def _sleepers() -> bool:
    return any(process.info["cmdline"] == SLEEP.split() for process in psutil.process_iter(["cmdline"]))
