"""A transcript is read though the archive's store keeps it waiting; what no waiting helps against is told at once."""

import asyncio

import msgspec
import pytest
from nats.aio.msg import Msg

from schemas.archive import LogPage, ReadLog, Refused
from services.local.broker import Broker
from services.runtime.bus import Bus
from tests.cli.conftest import Cli

KEY = "T1.C1.1-1"


@pytest.fixture
def operator(broker: Broker, tmp_path) -> Cli:
    return Cli(tmp_path, THREADMILL_NATS_URL=broker.url)


async def archive(bus: Bus, refusals: list[Refused]) -> None:
    """Answer as an archiver that gives one record, after `refusals`."""
    record = {
        "seq": 1,
        "subject": f"session.{KEY}.end.1",
        "time": "2026-01-01T00:00:00Z",
        "headers": {},
        "payload": {},
    }

    async def answer(message: Msg) -> None:
        assert ReadLog.decode(message.data).by
        page = LogPage(records=(msgspec.Raw(msgspec.json.encode(record)),), through=1, more=False)
        await message.respond((refusals.pop(0) if refusals else page).encode())

    await bus.client.subscribe("archiver.read.>", cb=answer)


async def test_a_store_that_does_not_answer_now_is_asked_again(bus: Bus, operator: Cli) -> None:
    await archive(bus, [Refused(reason="the store [sleeps]", later=True)])
    done = await asyncio.to_thread(operator.run, "transcript", KEY, "--format", "jsonl")
    assert (done.returncode, msgspec.json.decode(done.stdout)["seq"]) == (0, 1)
    assert done.stderr == "the store [sleeps] (trying again)\n"


async def test_what_no_waiting_helps_against_is_told_at_once(bus: Bus, operator: Cli) -> None:
    await archive(bus, [Refused(reason="the store is broken; mend it")])
    done = await asyncio.to_thread(operator.run, "transcript", KEY)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "threadmill: the store is broken; mend it\n"
