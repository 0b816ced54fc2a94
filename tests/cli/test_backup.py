"""A backup is everything: a session goes on from it on another broker, and what is there is never overwritten."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas import bus as bus_map
from schemas.buckets import Lease
from schemas.bus import LEASE_LIFE, LEASES, SESSIONS
from schemas.inputs import Said
from services.cli.backup import in_order
from services.local.broker import Broker, running_broker
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict
from services.runtime.files import Files
from services.runtime.follow import read
from services.runtime.topology import apply_map, stream_configs
from services.scheduler.settings import SchedulerSettings
from tests.chaos.brokers import Nodes
from tests.cli.conftest import Cli
from tests.scheduler.conftest import Replica
from tests.scheduler.task_launcher import TaskLauncher
from tests.scheduler.thread import Thread
from tests.scheduler.until import until

NAMES = [wanted["name"] for wanted in stream_configs(1)]


class Place:
    """A broker, and its operator."""

    def __init__(self, broker: Broker, bus: Bus, home: Path) -> None:
        self.broker, self.bus = broker, bus
        self.cli = Cli(home, THREADMILL_NATS_URL=broker.url)

    async def run(self, *arguments: object) -> tuple[int, str, str]:
        done = await asyncio.to_thread(self.cli.run, *arguments)
        return done.returncode, done.stdout, done.stderr

    async def stream(self, name: str) -> dict[str, Any]:
        info: dict[str, Any] = await self.bus.api(f"STREAM.INFO.{name}", None)
        return info

    @contextlib.asynccontextmanager
    async def scheduler(self) -> AsyncIterator[None]:
        await apply_map(self.bus, pools=("default",))
        replica = Replica(self.broker, TaskLauncher(self.broker.url))
        await replica.start(SchedulerSettings())
        leases = Bucket(self.bus, LEASES.name, Lease)

        async def released() -> bool:
            return not await leases.entries()

        try:
            yield
            await until(released)  # a turn ends before its worker lets go of the session
        finally:
            await replica.crash()
            await replica.launcher.terminate_all(0)


@pytest.fixture
async def old(broker: Broker, bus: Bus, tmp_path: Path) -> Place:
    return Place(broker, bus, tmp_path)


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Place]:
    """A broker that holds nothing."""
    async with running_broker(tmp_path / "new broker") as broker:
        client = await open_connection(BusSettings(url=broker.url), "new", lambda: None)
        yield Place(broker, Bus(client), tmp_path)
        await close_connection(client)


async def states(place: Place) -> dict[str, tuple[int, ...]]:
    """Return what each stream holds; leases expire meanwhile, but no sequence is ever given out again."""
    found: dict[str, tuple[int, ...]] = {}
    for name in NAMES:
        state = (await place.stream(name))["state"]
        held = (
            state["messages"],
            state.get("num_deleted", 0),
            state["first_seq"] if state["messages"] else 0,
        )
        found[name] = (state["last_seq"], *(held if name != "KV_leases" else ()))
    return found


async def test_a_session_goes_on_where_the_backup_left_it(old: Place, new: Place, tmp_path: Path) -> None:
    thread = Thread(old.bus)
    async with old.scheduler():
        first = await thread.say("finish")
        await thread.ended(first)
        await Files(old.bus).put("a/b.txt", b"x" * 300_000)
    code, told, progress = await old.run("backup", tmp_path / "kept")
    before = await states(old)
    assert (code, told.startswith(f"{len(NAMES)} streams, ")) == (0, True), progress
    assert "SESSIONS: " in progress
    code, told, progress = await new.run("restore", tmp_path / "kept")
    assert (code, told) == (0, f"{len(NAMES)} streams are restored; now start the services\n"), progress
    assert await states(new) == before
    assert before["KV_leases"] > (1,)
    _, trail, _ = await new.run("audit", "--json", "--team", "T1")
    assert [json.loads(line)["did"] for line in trail.splitlines()] == ["started", "exported"]
    assert await Files(new.bus).get("a/b.txt") == b"x" * 300_000

    there = _there(new, thread)
    opener = await new.bus.at(SESSIONS.name, first)
    assert opener
    same = Said.decode(opener.data)
    with pytest.raises(Conflict):
        await new.bus.publish(Draft(subject=same.subject(there.key), message=same, fence=Fence(0)))
    async with new.scheduler():
        second = await there.say("finish")
        assert second > first
        assert (await there.ended(second)).outcome == "completed"
    assert [end.turn for end in await there.ends()] == [first, second]
    assert [one.sequence for one in await read(new.bus, SESSIONS.name, [f"session.{there.key}.in.*"])] == [
        first,
        second,
    ]
    last = await new.bus.last(SESSIONS.name, f"session.{there.key}.out")
    assert last
    stale = Draft(subject=last.subject, message=same, fence=Fence(first))
    with pytest.raises(Conflict):
        await new.bus.publish(stale)


async def test_what_was_said_while_the_backup_ran_is_not_lost(old: Place, new: Place, tmp_path: Path) -> None:
    """The memory of the scheduler is older than the log: it hears of the rest again."""
    thread = Thread(old.bus)
    async with old.scheduler():
        await thread.ended(await thread.say("finish"))
    await old.run("backup", tmp_path / "kept")
    unheard = await thread.say("finish")
    await old.run("backup", tmp_path / "later")
    for name in [path.name for path in (tmp_path / "later").glob("KV_*")]:
        (tmp_path / "kept" / name).replace(tmp_path / "later" / name)
    whole, later = (json.loads((tmp_path / each / "manifest.json").read_text()) for each in ("kept", "later"))
    older = {kept["file"]: kept for kept in whole["streams"] if kept["file"].startswith("KV_")}
    later["streams"] = [older.get(kept["file"], kept) for kept in later["streams"]]
    (tmp_path / "later" / "manifest.json").write_text(json.dumps(later))
    assert (await new.run("restore", tmp_path / "later"))[0] == 0
    there = _there(new, thread)
    async with new.scheduler():
        assert (await there.ended(unheard)).outcome == "completed"


async def test_a_turn_in_the_middle_of_which_the_backup_was_made_is_worked_on_again(
    old: Place, new: Place, tmp_path: Path
) -> None:
    """A restored lease is nobody's: it ends as any lease that is not renewed."""
    thread = Thread(old.bus)
    async with old.scheduler():
        turn = await thread.say("obey")
        await until(thread.starts)
        await old.run("backup", tmp_path / "kept")
        await thread.stop()
        await thread.ended(turn)
    assert (await new.run("restore", tmp_path / "kept"))[0] == 0
    there = _there(new, thread)
    assert (await there.starts(), await there.ends()) == (1, [])

    async def started_again() -> bool:
        return await there.starts() == 2

    async with new.scheduler():
        await until(started_again, within=3 * LEASE_LIFE)
        await there.stop()
        end = await there.ended(turn)
    assert (end.outcome, end.attempt) == ("cancelled", 2)


async def test_nothing_is_overwritten(old: Place, new: Place, tmp_path: Path) -> None:
    await Thread(old.bus).say("finish")
    await old.run("backup", tmp_path / "kept")
    code, told, problem = await old.run("backup", tmp_path / "kept")
    assert (code, told) == (1, "")
    assert "is not empty; name a new folder" in problem
    code, told, problem = await old.run("restore", tmp_path / "kept")
    assert (code, told, problem.count("\n")) == (1, "", 1)
    assert "SESSIONS on this broker holds 1 messages, and nothing was changed" in problem
    assert "nats stream rm SESSIONS" in problem
    assert (await old.stream("SESSIONS"))["state"]["messages"] == 1
    await apply_map(new.bus)  # a service has started and made streams, which hold nothing
    assert (await new.run("restore", tmp_path / "kept"))[0] == 0
    assert (await new.stream("SESSIONS"))["state"]["messages"] == 1


async def test_a_restore_that_was_cut_off_goes_on(old: Place, new: Place, tmp_path: Path) -> None:
    await Thread(old.bus).say("finish")
    await old.run("backup", tmp_path / "kept")
    await new.bus.api("STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["audit.>"], "storage": "file"})
    code, told, problem = await new.run("restore", tmp_path / "kept")
    assert (code, told) == (1, "")
    assert f"{len(NAMES) - 1} of {len(NAMES)} streams are restored: start no service" in problem
    assert "overlap" in problem
    assert (await new.stream("SESSIONS"))["state"]["messages"] == 1
    assert "error" in await new.stream("AUDIT")
    await new.bus.api("STREAM.DELETE.MINE", None)
    code, told, progress = await new.run("restore", tmp_path / "kept")
    assert (code, told.startswith(f"{len(NAMES)} streams are restored")) == (0, True)
    assert "SESSIONS: 1 messages" in progress
    assert progress.count("was restored before") == len(NAMES) - 1


async def test_a_backup_that_is_not_whole_or_not_as_it_was_is_not_restored(
    old: Place, new: Place, tmp_path: Path
) -> None:
    await old.run("backup", tmp_path / "kept")
    kept = tmp_path / "kept" / "SESSIONS.snapshot"
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    code, told, problem = await new.run("restore", tmp_path / "kept")
    assert (code, told) == (1, "")
    assert "SESSIONS.snapshot is not what was backed up: its checksum differs" in problem
    kept.unlink()
    assert (
        "SESSIONS.snapshot of the backup cannot be read" in (await new.run("restore", tmp_path / "kept"))[2]
    )
    (tmp_path / "kept" / "manifest.json").unlink()
    assert "holds no whole backup" in (await new.run("restore", tmp_path / "kept"))[2]
    assert (await new.bus.api("STREAM.NAMES", {})).get("streams") is None


async def test_a_broker_that_lacks_a_stream_gives_no_whole_backup(old: Place, tmp_path: Path) -> None:
    await old.bus.api("STREAM.DELETE.KV_turns", None)
    code, told, problem = await old.run("backup", tmp_path / "kept")
    assert (code, told) == (1, "")
    assert "KV_turns is missing on the broker; start a service first" in problem
    assert not (tmp_path / "kept" / "manifest.json").exists()


def test_memories_are_taken_before_the_log_and_files_after_it() -> None:
    order = in_order(NAMES)
    assert sorted(order) == sorted(NAMES)
    assert order[-4:] == ["SESSIONS", "FILES", "DEADLETTER", "AUDIT"]
    assert len(NAMES) == len(bus_map.STREAMS) + len(bus_map.BUCKETS)


async def test_one_node_is_restored_into_a_cluster_with_its_replicas_and_back(
    old: Place, new: Place, tmp_path: Path
) -> None:
    thread = Thread(old.bus)
    async with old.scheduler():
        await thread.ended(await thread.say("finish"))
    await old.run("backup", tmp_path / "kept")
    nodes = Nodes(tmp_path / "cluster", 3)
    try:
        await nodes.start()
        environ = {"THREADMILL_NATS_URL": nodes.urls[0], "THREADMILL_NATS_REPLICAS": "3"}
        cluster = Cli(tmp_path, **environ)
        restored = await asyncio.to_thread(cluster.run, "restore", tmp_path / "kept")
        assert restored.returncode == 0, restored.stderr
        assert restored.stdout.split()[0] == str(len(NAMES))
        looked = (await asyncio.to_thread(cluster.run, "doctor", "--live")).stdout
        assert looked.count("replicas: 3") == len(NAMES)
        again = await asyncio.to_thread(cluster.run, "backup", tmp_path / "from cluster")
        assert again.returncode == 0, again.stderr
    finally:
        for program in nodes.programs:
            await program.stop()
    assert (await new.run("restore", tmp_path / "from cluster"))[0] == 0
    assert await _there(new, thread).ends() == await thread.ends()


def _there(place: Place, thread: Thread) -> Thread:
    """Return the same thread elsewhere."""
    there = Thread(place.bus)
    there.key = thread.key
    return there
