"""A worker that comes up: what it loads for that, and whose trace its work belongs to."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import nats
import pytest
import structlog
from nats.js import api

from schemas.events import Claimed
from services.runtime.follow import read
from services.runtime.traceparent import within
from services.worker import lean
from services.worker.assignment import take
from services.worker.station import Station
from services.worker.working import work
from tests.rights.entering import nothing
from tests.worker.conftest import Thread, in_no_pool

ROOT = Path(__file__).parents[2]
# Pages, tables, green threads, a version of no use, an API that is not spoken, spans, metrics that nobody reads, an event
# loop that forks slowly, and what only a session needs.
NOT_NEEDED = (
    "aiohttp",
    "rich",
    "greenlet",
    "importlib.metadata",
    "nats.js.api",
    "opentelemetry",
    "prometheus_client",
    "uvloop",
    "claude_agent_sdk",
    "services.worker.session",
)
# As far as a worker without settings comes.
COMES_UP = """
import runpy, sys
try:
    runpy.run_module("services.worker", run_name="__main__")
except SystemExit:
    print(*(name for name, module in sys.modules.items() if module))
"""
# Uses of it outside of its own package, those in examples among them.
ASKS = re.compile(r"\bnats\.js\.[\w.]+|from nats\.js import|from nats import js")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_it_waits_for_no_library_that_it_does_not_need_to_come_in() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMES_UP],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("threadmill worker: these settings cannot be used")
    names = done.stdout.split()
    assert "services.worker.app" in names
    assert not [name for name in names if f"{name}.".startswith(tuple(f"{each}." for each in NOT_NEEDED))]


def test_nats_asks_its_own_api_for_nothing_that_the_stand_in_lacks() -> None:
    asked: set[str] = set()
    package = Path(nats.__file__).parent
    for file in set(package.rglob("*.py")) - set((package / "js").rglob("*")):
        asked |= set(ASKS.findall(file.read_text()))
    # By the first two somebody would speak it, the third one names a type.
    assert asked - {"nats.js.JetStreamContext", "nats.js.JetStreamManager", "from nats.js import"} == {
        f"nats.js.api.Header.{each}" for each in ("STATUS", "STATUS.value", "DESCRIPTION", "CONSUMER_STALLED")
    }
    ours, theirs = ({each.name: each.value for each in header} for header in (lean.Header, api.Header))
    assert ours.items() <= theirs.items()


async def test_what_it_writes_belongs_to_the_trace_of_its_assignment(thread) -> None:
    turn = await thread.say("hello")
    with within({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}):
        await thread.assign(turn)
    settings = msgspec.structs.replace(thread.settings, agent="recorded", idle_seconds=0.1)
    taken = await take(thread.bus, "default", "w-1", ahead=nothing)
    await work(taken, settings, asyncio.Event(), in_no_pool, warm=True)
    written = await read(thread.bus, "SESSIONS", [f"session.{thread.key}.out"])
    assert len(written) > 3
    assert {each.headers["traceparent"].split("-")[1] for each in written} == {TRACE}


async def test_nothing_is_prepared_for_an_agent_before_the_pool_is_left(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, prepare, seen = asyncio.Event(), Station.prepare, []

    async def leave() -> None:
        await thread.until(lambda event: isinstance(event, Claimed))
        left.set()

    async def noted(self: Station, *arguments):
        seen.append(left.is_set())
        return await prepare(self, *arguments)

    monkeypatch.setattr(Station, "prepare", noted)
    turn = await thread.say("hello")
    await thread.assign(turn)
    settings = msgspec.structs.replace(thread.settings, agent="recorded", idle_seconds=0.1)
    taken = await take(thread.bus, "default", "w-1", ahead=nothing)
    await work(taken, settings, asyncio.Event(), leave, warm=True)
    assert seen == [True]


def test_what_was_loaded_before_is_left_alone() -> None:
    """As where a tracer or a `.pth` file looks versions up: no second copy of it takes its place."""
    script = (
        "import importlib.metadata as m, rich as r, nats, nats.js as j; import services.worker.__main__, sys;"
    )
    script += "assert (sys.modules['importlib.metadata'], sys.modules['rich'], nats.js) == (m, r, j)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
