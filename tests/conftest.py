"""A real broker for every test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.local.broker import Broker, running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.topology import apply_map


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with running_broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
    bus = Bus(client)
    await apply_map(bus, pools=("default",))
    yield bus
    await close_connection(client)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-samples", action="store_true", help="write the golden samples of the messages anew"
    )
    parser.addoption("--containers", action="store_true", help="run broker and object store in containers")
