"""A campaign from its beginning to its evidence: work under fire, calm, every session picked up again, everything down."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from schemas.bus import ARCHIVER
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Unavailable
from services.runtime.tasks import cancel
from tests.chaos import collect, fleet
from tests.chaos.brokers import CAMPAIGN
from tests.chaos.evidence import Archived, Evidence, Rules
from tests.chaos.field import BUCKET, Field, Setup, running
from tests.chaos.nemesis import SKEW_SECONDS, Nemesis
from tests.chaos.people import Conversation, People

WARM_UP_SECONDS = 5.0
READY_SECONDS = 60.0
END_SECONDS = 150.0
# What an archiver that died had heard comes again after the ack wait.
ARCHIVE_SECONDS = ARCHIVER.ack_wait + 30
# The last faults strike what people said last.
LAST_SECONDS = 5.0
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What happened: the faults by kind, and what the checker has to look at. `seconds` is how long faults rained."""

    setup: Setup
    seconds: float
    faults: Counter[str]
    evidence: Evidence


async def campaign(folder: Path, setup: Setup, seconds: float, tell: Tell) -> Outcome:
    """Run a campaign of `seconds` under fire in `folder`."""
    rules = Rules(turns=setup.turns, window=setup.window, skew=SKEW_SECONDS)
    evidence = Evidence(rules=rules)
    async with (
        running(folder, setup) as field,
        People(field.slack, setup.seed, claude=setup.claude) as people,
    ):
        await _all_ready(field)
        tell("everything runs")
        watcher = BusSettings(url=field.nodes.urls[0], creds=field.keys.of(CAMPAIGN.name))
        client = await open_connection(watcher, "checker", lambda: None)
        watching = asyncio.create_task(collect.watch_windows(Bus(client), evidence.counted))
        faults = await _under_fire(field, people, seconds, tell)
        await _calm_down(field, tell)
        await _observe(Bus(client), field, people, evidence, tell)
        await cancel(watching)
        await _shut_down(field, Bus(client), evidence, tell)
        await close_connection(client)
    return Outcome(setup, seconds, faults, evidence)


async def _all_ready(field: Field) -> None:
    for program in field.programs:
        if not await fleet.eventually(partial(field.is_ready, program.name), READY_SECONDS):
            raise RuntimeError(f"{program.name} does not become ready; see {program.log}")


async def _under_fire(field: Field, people: People, seconds: float, tell: Tell) -> Counter[str]:
    nemesis = Nemesis(field, people)
    working = asyncio.create_task(people.work(field.setup.sessions, field.setup.say_every), name="people")
    await asyncio.sleep(WARM_UP_SECONDS)
    striking = asyncio.create_task(nemesis.run(), name="nemesis")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await asyncio.wait([working, striking], timeout=min(left, 30), return_when=asyncio.FIRST_COMPLETED)
        for task in (working, striking):
            if task.done():
                task.result()
        tell(
            f"{sum(nemesis.struck.values())} faults, {sum(len(c.said) for c in people.conversations)} messages"
        )
    await cancel(working)
    await asyncio.sleep(LAST_SECONDS)
    await cancel(striking)
    return nemesis.struck


async def _calm_down(field: Field, tell: Tell) -> None:
    """End every fault; what Slack was told to do wrong and has not done yet comes in the time to settle."""
    field.calm.touch()
    for program in field.programs:
        if program.environ.pop("THREADMILL_CHAOS_SKEW", None):
            program.send(signal.SIGTERM)
    tell(f"calm; {field.setup.settle:.0f} s to settle")
    await field.nodes.healthy()
    await asyncio.sleep(field.setup.settle)


async def _observe(bus: Bus, field: Field, people: People, evidence: Evidence, tell: Tell) -> None:
    """Look at what has settled, pick every session up again, wait for what has to come, and look again."""
    await fleet.eventually(partial(_all_archived, bus), ARCHIVE_SECONDS, every=1)
    evidence.settled = await _seen(bus, field, people, evidence.rules)
    evidence.probed = {
        _key(each): (await people.say(each, "and once more, please")).replace(".", "-")
        for each in people.conversations
        if field.setup.pick_up
    }
    tell(f"{len(evidence.probed)} sessions are picked up again")
    await fleet.eventually(partial(_all_ended, bus, evidence), END_SECONDS, every=1)
    await fleet.eventually(partial(_all_archived, bus), ARCHIVE_SECONDS, every=1)
    await asyncio.sleep(field.setup.idle)
    seen = await _seen(bus, field, people, evidence.rules)
    evidence.log, evidence.threads, evidence.archive = seen.log, seen.threads, seen.archive
    evidence.acknowledged = collect.acknowledged(field.folder / "acknowledged.jsonl", people.conversations)
    evidence.stops = {_key(each): each.stops for each in people.conversations}
    evidence.reachable = collect.reachable(field.repo)
    await asyncio.to_thread(collect.keep, field.folder / "evidence", evidence)


async def _seen(bus: Bus, field: Field, people: People, rules: Rules) -> Evidence:
    return Evidence(
        rules=rules,
        threads={_key(each): await people.thread(each) for each in people.conversations},
        log=await collect.log(bus),
        archive=await asyncio.to_thread(_archive, field),
    )


def _archive(field: Field) -> list[Archived]:
    if field.setup.in_folder:
        return collect.archive(collect.in_folder(field.folder / "archive"))
    return collect.archive(collect.in_bucket(field.gcs, BUCKET))


async def _all_ended(bus: Bus, evidence: Evidence) -> bool:
    log = await collect.log(bus)
    ended = {(e.session, s) for e in log if e.leaf.startswith("end.") for s in e.body["inputs"]}
    said = [entry for entry in log if entry.kind == "said"]
    probes = {(e.session, e.sequence) for e in said if e.body["id"] == evidence.probed.get(e.session)}
    return len(probes) == len(evidence.probed) and probes <= ended


async def _all_archived(bus: Bus) -> bool:
    try:
        info = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
    except Unavailable:  # three campaigns beside each other may keep a machine's disk from answering in time
        return False
    return not (info["num_pending"] or info["num_ack_pending"])


async def _shut_down(field: Field, bus: Bus, evidence: Evidence, tell: Tell) -> None:
    """Tell every service to end, and look for what is left."""
    tell("shutting down")
    for program in reversed(field.programs):
        if await program.stop() != 0:
            evidence.unclean.append(program.name)
    evidence.leases = await collect.leases(bus)
    evidence.dead_letters = await collect.dead_letters(bus)
    mine = {"tests.chaos.slack", "nats-server"}
    evidence.left = [
        f"{process.pid} {' '.join(process.cmdline())[:200]}"
        for process in fleet.marked(str(field.folder))
        if not any(word in " ".join(process.cmdline()) for word in mine)
    ]


def _key(each: Conversation) -> str:
    return f"T1.{each.channel}.{each.root.replace('.', '-')}"
