"""A person's message until the agent's start, in the real composition, with a worker waiting before each message."""

import asyncio
import time

import msgspec
from nats.js.client import JetStreamContext

from benchmarks.bare_git import bare_clone
from benchmarks.local_mode import LocalMode, Run, local_mode
from benchmarks.phases import AGENT, PHASES, Start, start_of
from benchmarks.report import Section, Table, median, ms, percentile, ratio
from schemas.keys import SessionKey
from services.runtime.follow import read
from tests.messages_api import MessagesApi

WARM = 2
# Workers that are done leave at once, so that they make room.
WORKER = {
    "THREADMILL_IDLE_SECONDS": "1",
    "THREADMILL_PERMISSION_MODE": "sandboxed",
    "THREADMILL_RECORDING_SPEED": "0",
}
CALM_SECONDS = 1.5
# On the way: the input, the rate limit, the scheduler's memory, the assignment, the lease, claimed, started, taken.
WRITES = 8
SIGN, WORDS = "assistant.threads.setStatus", "chat.startStream"
COLUMNS = ("phase", "p50 ms", "p99 ms", "share of ours")


class Bare(msgspec.Struct, frozen=True):
    """The seconds of what cannot be left out."""

    writes: float
    git: float


async def run(quick: bool) -> Section:
    section = Section(
        title="Start",
        told=(
            "All of local mode in one process, its broker and its workers beside it; a message in a new thread of a"
            f" person's own repository, {WARM} warm workers waiting before each. Bare is what cannot be left out:"
            f" {WRITES} JetStream publishes one after the other, each on disk, and `git clone` and `git checkout -b` of the"
            " same repository. The worker that takes the warm one's place is launched two seconds after a start. Where there"
            " are three brokers they have the disk to themselves, as on machines of their own, and all else is in memory: clones there are not to be"
            " compared with those of one broker."
        ),
    )
    for agent, nodes, count in (
        ("recorded", 1, 20),
        ("claude", 1, 12),
        ("recorded", 3, 20),
        ("claude", 3, 12),
    ):
        async with MessagesApi() as model:
            environ = {
                "ANTHROPIC_API_KEY": "stub",
                "ANTHROPIC_BASE_URL": model.url,
                "IS_SANDBOX": "1",
            }
            given = Run(
                agent=agent,
                environ=environ if agent == "claude" else {},
                worker=WORKER,
                warm=WARM,
                nodes=nodes,
            )
            async with local_mode(given) as mode:
                starts, bare = await _starts(mode, 3 if quick else count)
        caption = f"{agent}, {nodes} node{'s' * (nodes > 1)}: {len(starts)} messages, all to warm workers"
        section.tables[caption] = _table(starts, bare)
    return section


async def _starts(mode: LocalMode, count: int) -> tuple[list[Start], Bare]:
    starts, bare = [], []
    for number in range(count + 1):
        await mode.warm(WARM)
        await asyncio.sleep(CALM_SECONDS)
        start = await _start(mode)
        # The first message makes the person's repository and asks Slack for names; it is no start like the others.
        if number and start.warm:
            starts.append(start)
            bare.append(await _bare(mode))
    if len(starts) < count:
        raise RuntimeError(f"only {len(starts)} of {count} messages met a warm worker")
    return starts, Bare(median([each.writes for each in bare]), median([each.git for each in bare]))


async def _start(mode: LocalMode) -> Start:
    key = await mode.say("hello")
    await mode.end(key)
    log = await read(mode.bus, "SESSIONS", [f"session.{key}.in.*", f"session.{key}.out"])
    posted = float(key.thread_ts)
    start = start_of(posted, mode.seen.assigned[str(key)], log)
    start.signed, start.worded = [await _called(mode, key, method) - posted for method in (SIGN, WORDS)]
    return start


async def _called(mode: LocalMode, key: SessionKey, method: str) -> float:
    """Return when Slack was first called by `method` for the session's thread."""
    while True:
        for call in await mode.calls():
            if call["method"] == method and call["args"].get("thread_ts") == key.thread_ts:
                return float(call["at"])
        await asyncio.sleep(0.02)


async def _bare(mode: LocalMode) -> Bare:
    stream: JetStreamContext = mode.bus.client.jetstream()
    began = time.perf_counter()
    for number in range(WRITES):
        await stream.publish(f"audit.bench.{number}", b"x" * 256)
    stored = time.perf_counter() - began
    (repository,) = list(mode.data.glob("repos/*.git"))
    return Bare(stored, await bare_clone(str(repository), mode.data))


def _table(starts: list[Start], bare: Bare) -> Table:
    table, ours = Table(columns=COLUMNS), [start.ours for start in starts]
    for name, what in PHASES.items():
        took = [start.phases[name] for start in starts]
        share = "-" if name == AGENT else f"{100 * median(took) / median(ours):.0f} %"
        table.add(what, ms(median(took)), ms(percentile(took, 0.99)), share)
    whole = [start.whole for start in starts]
    table.add("whole", ms(median(whole)), ms(percentile(whole, 0.99)), "-")
    table.add("**the platform's share** (whole without the agent's own start)", *_bold(ours), "100 %")
    for what, took in (
        ("until a person sees that it is heard", [start.signed for start in starts]),
        ("until a person sees the agent's first words", [start.worded for start in starts]),
    ):
        table.add(what, ms(median(took)), ms(percentile(took, 0.99)), "-")
    table.add("bare: writes", ms(bare.writes), "-", "-")
    table.add("bare: git alone", ms(bare.git), "-", "-")
    table.add("the platform's share without what git alone takes", ms(median(ours) - bare.git), "-", "-")
    table.add("the platform's share to bare", ratio(median(ours), bare.writes + bare.git), "-", "-")
    return table


def _bold(values: list[float]) -> tuple[str, str]:
    return f"**{ms(median(values))}**", f"**{ms(percentile(values, 0.99))}**"
