"""Archivers that are killed, brokers that come back older: nothing is lost and nothing doubled."""

import asyncio
import contextlib
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.archiver.app import wire
from services.archiver.folder import Folder
from services.archiver.objects import CONTENT_TYPE, plan_object
from services.archiver.records import Record
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.local.broker import running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.health import Readiness
from services.runtime.topology import apply_map
from tests.archiver.stage import (
    KEY,
    OTHER,
    acknowledged,
    archived,
    archiver,
    end,
    is_whole,
    reaches,
    say,
    tell,
    until,
)

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def process(broker, folder, *what):
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "THREADMILL_NATS_URL": broker.url,
        "THREADMILL_FOLDER": str(folder),
        "THREADMILL_HEALTH_PORT": "0",
        "THREADMILL_FLUSH_SECONDS": "0.2",
    }
    with (folder.parent / "log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *what, env=environ, stdout=log, stderr=log, cwd=ROOT
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def dies(broker, folder, step, nth):
    async with asyncio.timeout(20), process(broker, folder, "tests.archiver.dying", step, str(nth)) as dying:
        assert await dying.wait() == -signal.SIGKILL


@pytest.mark.parametrize("step", ["upload", "uploaded", "ack", "acked"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_an_archiver_killed_at_any_step_leaves_everything_once(broker, bus, folder, step, nth):
    for _ in range(12):  # several objects in one go
        await tell(bus, "x" * 10**6)
    last = await end(bus)
    await dies(broker, folder, step, nth)

    more = await end(bus, 2)
    async with process(broker, folder, "services.archiver") as survivor:
        await reaches(folder, max(last, more))
        await is_whole(bus, folder)
        survivor.terminate()
        assert await survivor.wait() == 0


async def test_an_archiver_killed_again_and_again_gets_everything_there_in_the_end(broker, bus, folder):
    writing = True

    async def write(key):
        n = 0
        while writing:
            n += 1
            await tell(bus, "word " * 200, key)
            if n % 7 == 0:
                await end(bus, n, key)
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(key)) for key in (KEY, OTHER)]
    for step in ("uploaded", "ack", "acked", "upload"):
        await dies(broker, folder, step, 9)
    writing = False
    await asyncio.gather(*writers)
    # What the dead ones had in hand comes again after two minutes; the session's next event brings it along at once.
    ends = [await end(bus, 10**6, key) for key in (KEY, OTHER)]
    async with archiver(bus, folder, flush_seconds=0.1):
        for key, last in zip((KEY, OTHER), ends, strict=True):
            await reaches(folder, last, key)

            async def all_there(key=key):
                records = await archived(folder, key)
                newest = await bus.last("SESSIONS", f"session.{key}.>")
                return records[-1].seq == newest.sequence

            await until(all_there)
            await is_whole(bus, folder, key)


async def test_a_new_broker_goes_on_where_the_archive_ends(bus, folder, tmp_path):
    async with archiver(bus, folder):
        await say(bus)
        last = await end(bus)
        await reaches(folder, last)
    async with running_broker(tmp_path / "new") as broker:
        fresh = Bus(await open_connection(BusSettings(url=broker.url), "test", lambda: None))
        await apply_map(fresh)
        async with archiver(fresh, folder):
            assert await say(fresh) == last + 1
            await reaches(folder, newest := await end(fresh, 9))
        assert [record.seq for record in await archived(folder)] == [last - 1, last, last + 1, newest]
        await close_connection(fresh.client)


async def test_what_a_broker_that_was_rolled_back_holds_now_is_not_taken_for_archived(bus, folder):
    async with archiver(bus, folder):
        for n in range(1, 4):
            last = await end(bus, n)
        await reaches(folder, last)
        await acknowledged(bus)
        with capture_logs() as told:
            await bus.api("STREAM.DELETE.SESSIONS", None)
            await apply_map(bus, pools=("default",))
            assert await end(bus) < last

            async def is_told():
                return any("it was rolled back" in line.get("reason", "") for line in told)

            await until(is_told)
        info = await bus.api("CONSUMER.INFO.SESSIONS.archiver", None)
    assert (info["num_ack_pending"], info["ack_floor"]["stream_seq"]) == (1, 0)


async def test_moving_past_the_archive_needs_no_more_room_than_a_batch_and_waits_for_that(bus, folder):
    store = Store(Folder(folder))
    record = Record(seq=2500, subject=f"session.{KEY}.out", time=datetime.now(UTC), headers={}, payload=b"{}")
    planned = plan_object(KEY, "SESSIONS", None, [record])
    await store.create(planned.name, planned.data, planned.metadata, CONTENT_TYPE)
    await store.close()
    await say(bus)
    config = (await bus.api("STREAM.INFO.SESSIONS", None))["config"]

    async def room_for(size):
        assert "error" not in await bus.api("STREAM.UPDATE.SESSIONS", config | {"max_bytes": size})

    await room_for(10_000)
    with capture_logs() as told:
        starting = asyncio.create_task(wire(bus, Readiness({}), ArchiverSettings(folder=folder)))

        async def waits():
            return any(line["event"] == "the archive waits for the bus" for line in told)

        await until(waits)
    await room_for(500_000)
    await starting
    assert await say(bus, input_id="2") == 2501
    assert (await bus.api("STREAM.INFO.SESSIONS", None))["state"]["messages"] == 2


async def test_a_broker_that_comes_back_older_is_moved_past_the_archive_and_keeps_what_it_has(
    bus, folder, tmp_path
):
    async with archiver(bus, folder):
        for n in range(1, 1301):
            last = await end(bus, n)
        await reaches(folder, last)
    async with running_broker(tmp_path / "older") as broker:
        older = Bus(await open_connection(BusSettings(url=broker.url), "test", lambda: None))
        await apply_map(older)
        kept = await say(older, key=OTHER)
        async with archiver(older, folder, flush_seconds=0.2), archiver(older, folder, flush_seconds=0.2):
            new = await end(older, 9999)
            assert new > last
            assert (await older.at("SESSIONS", kept)) is not None
            assert (await older.api("STREAM.INFO.SESSIONS", None))["state"]["messages"] == 2
            await reaches(folder, new)
            await end(older, 1, OTHER)
            await until(lambda: archived(folder, OTHER))
            await acknowledged(older)
        await is_whole(older, folder, OTHER)
        sequences = [record.seq for record in await archived(folder)]
        assert sequences == sorted(set(sequences))
        assert sequences[-1] == new
        await close_connection(older.client)
