"""`doctor --live`: a running system, one where things are wrong, and none."""

from datetime import timedelta

import pytest

from schemas import bus as bus_map
from schemas.base import now
from schemas.buckets import Turns, Waiting
from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.people import Person
from services.local.broker import Broker
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from tests.cli.conftest import Cli, RunningDev

pytestmark = pytest.mark.xdist_group("cli-live")

KEY = SessionKey("T1", "C1", "1-1")
NAMES = (
    *(stream.name for stream in bus_map.STREAMS),
    *(f"KV_{bucket.name}" for bucket in bus_map.BUCKETS),
)
REST = (
    "broker", "SESSIONS/scheduler", "SESSIONS/archiver", "WORK/pool-default", "dead letters",
    "oldest unarchived event", "turns", "scheduler", "archiver", "ingress",
)  # fmt: skip


def rows(told: str) -> dict[str, str]:
    """Return what each line finds, by what it looked at, with the way out that stands below it."""
    found: dict[str, str] = {}
    for line in told.splitlines():
        mark, _, rest = line.partition(" ")
        if mark in "✓!✗" and mark:
            what, _, words = rest.strip().partition("  ")
            found[what] = f"{mark} {words.strip()}"
        else:
            found[what] += f" | {line.strip()}"
    return found


def test_a_running_system_is_looked_at_whole(dev: RunningDev) -> None:
    dev.cli.ok("send", "hello")
    told = rows(dev.cli.ok("doctor", "--live"))
    assert set(told) == {*NAMES, *REST}
    assert told["broker"].startswith("✓ version 2.")
    assert "messages, " in told["SESSIONS"]
    assert "replicas: 1" in told["KV_turns"]
    assert told["turns"].endswith("stuck: 0, leases that stay: 0")
    assert told["scheduler"] == f"✓ answers, version {dev.cli.ok('--version').split()[1]}"
    assert told["archiver"] == "✓ answers, and so does its store"
    assert told["ingress"].startswith("✓ writes into 16 partitions")
    assert {words[0] for words in told.values()} == {"✓"}


async def test_what_is_wrong_has_a_way_out(bus: Bus, broker: Broker, tmp_path) -> None:
    said = Said(id="m1", user=Person(id="U1"), text="x" * 1000)
    await bus.publish(Draft(subject=said.subject(KEY), message=said))
    old = Waiting(sequence=1, id="m1", user=said.user, at=now() - timedelta(hours=1))
    await Bucket(bus, "turns", Turns).create(str(KEY), Turns(waiting=(old,)))
    await bus.publish_raw("dead.test.x", b"{}", {})
    info = await bus.api("STREAM.INFO.SESSIONS", None)
    small = info["config"] | {"max_bytes": info["state"]["bytes"]}
    await bus.api("STREAM.UPDATE.SESSIONS", small)
    audit = (await bus.api("STREAM.INFO.AUDIT", None))["config"]
    await bus.api("STREAM.UPDATE.AUDIT", audit | {"max_bytes": 1_000_000})
    done = Cli(tmp_path, THREADMILL_NATS_URL=broker.url).run("doctor", "--live")
    told = rows(done.stdout)
    assert done.returncode == 1
    assert "(100%)" in told["SESSIONS"]
    assert told["AUDIT"].startswith("✗")
    assert "max_bytes | start a service of this version" in told["AUDIT"]
    assert told["dead letters"] == "! 1 | look at them: threadmill dead list"
    assert "stuck: 1" in told["turns"]
    assert "threadmill turns --stuck" in told["turns"]
    assert "s old" in told["oldest unarchived event"]
    for service in ("scheduler", "archiver", "ingress"):
        assert told[service] == f"✗ does not answer | start it, or read its log: threadmill run {service}"


async def test_a_missing_stream_ends_the_look(bus: Bus, broker: Broker, tmp_path) -> None:
    await bus.api("STREAM.DELETE.KV_turns", None)
    done = Cli(tmp_path, THREADMILL_NATS_URL=broker.url).run("doctor", "--live")
    told = rows(done.stdout)
    assert (done.returncode, set(told)) == (1, {"broker", *NAMES})
    assert told["KV_turns"].startswith("✗ missing | start a service")


def test_no_broker_is_one_finding(tmp_path) -> None:
    done = Cli(tmp_path, THREADMILL_NATS_URL="nats://127.0.0.1:1").run("doctor", "--live")
    told = rows(done.stdout)
    assert (done.returncode, done.stderr, set(told)) == (1, "", {"broker"})
    assert "no broker answers" in told["broker"]
    assert "THREADMILL_NATS_URL" in told["broker"]
