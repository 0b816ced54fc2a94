"""`turns` and `leases` on a broker whose buckets say what they say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from schemas.base import now
from schemas.buckets import Lease, OpenTurn, Turns, Waiting
from schemas.people import Person
from services.local.broker import Broker
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.tasks import cancel
from tests.cli.conftest import Cli

ADA = Person(id="U1", name="Ada")
HOUR = timedelta(hours=1)


@pytest.fixture
def operator(broker: Broker, tmp_path: Path) -> Cli:
    return Cli(tmp_path, THREADMILL_NATS_URL=broker.url)


async def run(cli: Cli, *arguments: str) -> tuple[int, str]:
    done = await asyncio.to_thread(cli.run, *arguments)
    assert not done.stderr
    return done.returncode, done.stdout


def said(at: datetime, sequence: int = 8) -> Waiting:
    return Waiting(sequence=sequence, id=f"m{sequence}", user=ADA, at=at)


def turn(at: datetime, **more: object) -> OpenTurn:
    return OpenTurn(turn=7, user=ADA, opened_at=at, deadline=at + HOUR, **more)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def held(bus: Bus, key: str, lease: Lease) -> AsyncIterator[None]:
    """Hold a lease as its worker does."""
    bucket = Bucket(bus, "leases", Lease)
    revision = await bucket.create(key, lease)

    async def renew() -> None:
        nonlocal revision
        while True:
            await asyncio.sleep(3)
            revision = await bucket.put(key, lease, revision)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        await cancel(renewing)


async def test_a_quiet_system_has_nothing_open_and_nothing_stuck(bus: Bus, operator: Cli) -> None:
    assert await run(operator, "turns") == (0, "no turn is open\n")
    assert await run(operator, "leases") == (0, "nobody works\n")
    assert await run(operator, "turns", "--stuck") == (0, "nothing is stuck\n")
    assert await run(operator, "leases", "--stuck", "--json") == (0, "")


async def test_what_does_not_go_on_is_told_with_what_to_do(bus: Bus, operator: Cli) -> None:
    memories, at = Bucket(bus, "turns", Turns), now()
    old = at - 3 * HOUR
    await memories.create("T1.C1.1-1", Turns(open=turn(old, start=1, lease=5, started_at=old)))
    await memories.create("T1.C1.2-1", Turns(open=turn(old), waiting=(said(old),)))
    await memories.create("T1.C1.3-1", Turns(waiting=(said(old),)))
    await memories.create("T1.C1.4-1", Turns(waiting=(said(old),), paused=True))
    await memories.create("T1.C1.5-1", Turns(open=turn(at), waiting=(said(at), said(at, 9))))
    await memories.create("T1.C1.6-1", Turns(heard=9))
    async with held(bus, "T1.C1.1-1", Lease(holder="w-1", since=old)):
        code, all_of_them = await run(operator, "turns")
        stuck_code, stuck = await run(operator, "turns", "--stuck")
        _, lines = await run(operator, "turns", "--json")
    assert (code, stuck_code) == (0, 1)
    shown = [line.split()[0] for line in all_of_them.splitlines()[1:]]
    assert shown == [f"T1.C1.{n}-1" for n in (1, 2, 3, 4, 5)]
    assert "end the worker w-1" in stuck
    assert "no worker is free" in stuck
    assert "nothing opens a turn" in stuck
    assert [line.split()[0] for line in stuck.splitlines()[1:]] == [f"T1.C1.{n}-1" for n in (1, 2, 3)]
    rows = {row["session"]: row for row in map(json.loads, lines.splitlines())}
    states = [(row["state"], row["queued"]) for row in rows.values()]
    assert states == [("running", 0), ("waiting", 1), ("waiting", 1), ("paused", 1), ("waiting", 2)]
    assert (rows["T1.C1.5-1"]["person"], rows["T1.C1.5-1"]["stuck"]) == ("Ada", "")
    assert all(row["todo"] for row in rows.values())


async def test_a_worker_that_stays_without_a_turn_is_told(bus: Bus, operator: Cli) -> None:
    at = now()
    async with (
        held(bus, "T1.C1.1-1", Lease(holder="w-1", since=at - HOUR)),
        held(bus, "T1.C1.2-1", Lease(holder="w-2", since=at)),
    ):
        _, both = await run(operator, "leases")
        code, stuck = await run(operator, "leases", "--stuck", "--json")
    assert [line.split()[:2] for line in both.splitlines()[1:]] == [
        ["T1.C1.1-1", "w-1"],
        ["T1.C1.2-1", "w-2"],
    ]
    assert (code, stuck.count("\n")) == (1, 1)
    assert json.loads(stuck)["todo"] == "end the worker w-1"
