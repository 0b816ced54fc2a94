"""Over Slack's sockets everything is as over HTTP, and no change of sockets loses anything."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.keys import ts_token
from services.local.broker import running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.topology import apply_map
from tests.ingress.stage import Door, Slack, eventually, running, stored


@pytest.fixture
async def sockets(bus: Bus, slack: Slack) -> AsyncIterator[Door]:
    settings = {"signing_secret": "", "app_token": slack.simulator.app_token}
    async with running(bus, slack, **settings) as door:
        await connected(slack, 2)
        yield door


async def connected(slack: Slack, count: int) -> None:
    async def open_now() -> bool:
        return len(slack.simulator._sockets.open) == count

    await eventually(open_now)


async def test_a_mention_over_a_socket_is_stored_and_acknowledged(
    bus: Bus, slack: Slack, sockets: Door
) -> None:
    token = ts_token(await slack.says("@threadmill fix it"))

    await eventually(lambda: stored(bus))
    await slack.settled()

    assert list(await stored(bus)) == [f"T1.C1.{token}.in.{token}"]
    assert slack.simulator._delivery.given_up == 0
    assert not sockets.service.routes(), "without a signing secret there is no way in over HTTP"


async def test_sockets_that_slack_refreshes_lose_and_double_nothing(
    bus: Bus, slack: Slack, sockets: Door
) -> None:
    sent = []
    for number in range(40):
        if number % 5 == 0:
            await slack.fault(deliver="disconnect", times=2)
        sent.append(ts_token(await slack.says(f"@threadmill do {number}")))

    async def all_there() -> bool:
        return len(await stored(bus)) == len(sent)

    await eventually(all_there, within=60)
    await slack.settled()
    assert sorted(await stored(bus)) == sorted(f"T1.C1.{token}.in.{token}" for token in sent)
    await connected(slack, 2)


async def test_a_socket_that_slack_announces_to_close_is_heard_until_its_successor_is_there(
    bus: Bus, slack: Slack, sockets: Door
) -> None:
    old = list(slack.simulator._sockets.open)
    for connection in old:
        await connection._socket.send_str('{"type": "disconnect", "reason": "warning"}')
    await connected(slack, 4)

    slack.simulator._sockets.open[:] = old
    token = ts_token(await slack.says("@threadmill said on the old socket"))

    await eventually(lambda: stored(bus))
    await slack.settled()
    assert list(await stored(bus)) == [f"T1.C1.{token}.in.{token}"]
    assert slack.simulator._delivery.given_up == 0


async def test_duplicates_over_both_transports_are_one_input(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, app_token=slack.simulator.app_token):
        await connected(slack, 2)
        await slack.fault(deliver="duplicate", times=12)
        await slack.says("@threadmill fix it")
        await eventually(lambda: stored(bus))
        await slack.settled()
    assert len(await stored(bus)) == 1


async def test_nothing_is_acknowledged_without_a_broker(slack: Slack, tmp_path: Path) -> None:
    async with running_broker(tmp_path / "one") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
        bus = Bus(client)
        await apply_map(bus)
        async with running(bus, slack, signing_secret="", app_token=slack.simulator.app_token):
            await connected(slack, 2)
            await broker.stop()
            await slack.says("@threadmill fix it")
            unacknowledged = asyncio.create_task(slack.settled())
            await asyncio.wait([unacknowledged], timeout=2.5)
            assert not unacknowledged.done()
            await broker.start()
            await unacknowledged
            assert len(await stored(bus)) == 1
        await close_connection(client)


async def test_garbage_on_a_socket_disturbs_nobody(bus: Bus, slack: Slack, sockets: Door) -> None:
    for connection in slack.simulator._sockets.open:
        for frame in (
            "",
            "{",
            "[]",
            '{"type": 7}',
            '{"envelope_id": "e", "type": "events_api", "payload": 3}',
        ):
            await connection._socket.send_str(frame)
        await connection._socket.send_bytes(b"\xff\x00")

    await slack.says("@threadmill fix it")

    assert len(await eventually(lambda: stored(bus))) == 1
    await connected(slack, 2)
