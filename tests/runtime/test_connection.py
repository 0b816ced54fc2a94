"""A connection's end, whatever the broker does."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from schemas.bus import MAX_PAYLOAD
from services.local.broker import running_broker
from services.runtime import connection
from services.runtime.connection import BusSettings, close_connection, open_connection


def connected_to(port: int) -> list[str]:
    """Return the states of this process's connections to `port`."""
    found = psutil.Process().net_connections("tcp")
    return [each.status for each in found if each.raddr and each.raddr.port == port]


async def test_a_broker_that_stands_still_with_words_on_their_way_to_it_is_left_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.2)
    async with running_broker(tmp_path / "broker") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
        assert connected_to(broker.port) == [psutil.CONN_ESTABLISHED]
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                await client.publish("a.b", b"x" * (MAX_PAYLOAD - 1024))
            await close_connection(client)
            assert psutil.CONN_ESTABLISHED not in connected_to(broker.port)
        finally:
            os.kill(broker.pid, signal.SIGCONT)


async def test_who_closes_a_connection_does_not_hear_that_it_is_lost(tmp_path: Path) -> None:
    lost: list[str] = []
    async with running_broker(tmp_path / "broker") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: lost.append("it is"))
        await close_connection(client)
        assert client.is_closed
    assert not lost
