"""Dead letters that nobody of ours wrote: they hold up no other, and send nothing where they please."""

import pytest

from schemas.operations import DeadLetter
from services.local.broker import Broker
from services.runtime.bus import Bus, Draft
from services.runtime.dead_letters import MAX_LETTER, bury
from services.runtime.follow import read
from tests.cli.conftest import Cli

WORK = "dead.worker.work.default"
CONTROL = "session.T1.C1.1-1.control"


@pytest.fixture
def operator(broker: Broker, tmp_path) -> Cli:
    return Cli(tmp_path, THREADMILL_NATS_URL=broker.url)


async def test_a_letter_that_cannot_be_read_is_listed_beside_the_others(bus: Bus, operator: Cli) -> None:
    letter = DeadLetter(service="[/worker]", origin="work.default", reason="it [failed]")
    for payload in (b"garbage", letter.encode()):
        await bus.publish_raw(WORK, payload, {})
    _, garbage, readable = operator.ok("dead", "list").splitlines()
    assert garbage.split()[0] == "1"
    assert "unreadable: not a dead-letter" in garbage
    assert "it [failed]" in readable
    for command in ("show", "replay"):
        assert "the letter 1 cannot be read" in operator.run("dead", command, 1).stderr


@pytest.mark.parametrize(
    ("service", "origin"),
    [
        ("worker", "session.T1.C1.1-1.in.x"),
        ("scheduler", "session.T1.C1.1-1.control"),
        ("worker.work", "default"),
    ],
)
async def test_a_letter_is_sent_nowhere_but_where_it_came_from(
    bus: Bus, operator: Cli, service: str, origin: str
) -> None:
    letter = DeadLetter(service=service, origin=origin, reason="replay me", payload="{}")
    await bus.publish_raw(WORK, letter.encode(), {})
    refused = operator.run("dead", "replay", 1)
    assert refused.returncode == 1
    assert f"the letter 1 lies under {WORK}" in refused.stderr
    assert await bus.last("SESSIONS", "session.>") is None
    assert await bus.at("DEADLETTER", 1)


async def buried(bus: Bus, payload: bytes) -> None:
    """Leave a message where it came, and a letter about it."""
    await bus.publish_raw(CONTROL, payload, {})
    (delivery,) = await read(bus, "SESSIONS", [CONTROL])
    await bury(bus, "scheduler", delivery, "it failed")


async def test_a_letter_that_was_too_large_to_keep_its_message_sends_it_from_where_it_lies(
    bus: Bus, operator: Cli
) -> None:
    await buried(bus, large := b"x" * (MAX_LETTER + 1))
    operator.ok("dead", "replay", 1)
    assert [each.data for each in await read(bus, "SESSIONS", [CONTROL])] == [large, large]
    assert await bus.at("DEADLETTER", 1) is None


async def test_a_letter_whose_message_is_gone_stays(bus: Bus, operator: Cli) -> None:
    await buried(bus, b"x" * (MAX_LETTER + 1))
    await bus.api("STREAM.PURGE.SESSIONS", {})
    refused = operator.run("dead", "replay", 1)
    assert (refused.returncode, "the letter 1 stays" in refused.stderr) == (1, True)
    assert await bus.last("SESSIONS", CONTROL) is None
    assert await bus.at("DEADLETTER", 1)


async def test_a_letter_that_the_broker_has_no_room_for_stays_and_that_is_told(
    bus: Bus, operator: Cli
) -> None:
    await buried(bus, b"{}")
    info = await bus.api("STREAM.INFO.SESSIONS", None)
    full = info["config"] | {"max_bytes": info["state"]["bytes"]}
    assert "error" not in await bus.api("STREAM.UPDATE.SESSIONS", full)
    refused = operator.run("dead", "replay", 1)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "the broker has no room" in refused.stderr
    assert await bus.at("DEADLETTER", 1)


async def test_of_a_letters_headers_only_our_own_are_sent_again(bus: Bus, operator: Cli) -> None:
    headers = {
        "Threadmill-Schema": "said/1",
        "Threadmill-Session": "T1.C1.1-1",
        "Nats-Rollup": "all",
        "Nats-TTL": "1s",
    }
    letter = DeadLetter(service="worker", origin="work.default", reason="", payload="{}", headers=headers)
    await bus.publish(Draft(subject=letter.subject(), message=letter))
    operator.ok("dead", "replay", 1)
    sent = await bus.last("WORK", "work.default")
    assert sent
    assert sent.headers == {
        "Threadmill-Schema": "said/1",
        "Threadmill-Session": "T1.C1.1-1",
        "Nats-Msg-Id": "replay/1",
    }
    assert await bus.at("DEADLETTER", 1) is None
