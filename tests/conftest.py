"""A real broker for every test that asks for one: a process, or with `--containers` a container."""

import importlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import settings

from services.local.broker import Broker, running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.topology import apply_map

# A shared machine is slow at times; how fast something is, benchmarks say. In CI the examples are the same each time.
settings.register_profile("threadmill", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("threadmill")
# Whoever starts the tests in the background may have them ignore Ctrl-C, and every program that they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `xdist_group` mean something: xdist 3.8 writes a test's group where pytest 9.2 looks for no id any more."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        if (group := item.get_closest_marker("xdist_group")) and "@" not in item.nodeid:
            item._id = coerce_node_id(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(scope="session")
def broker_image(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str | None]:
    """The image to run the broker from; None runs it as a process."""
    if not request.config.getoption("--containers"):
        yield None
        return
    from tests import containers  # noqa: PLC0415 (only who asks for containers needs their client)

    containers.require_engine()
    with containers.broker_image(tmp_path_factory.mktemp("image")) as image:
        yield image


@pytest.fixture
async def broker(tmp_path: Path, broker_image: str | None) -> AsyncIterator[Broker]:
    if broker_image is None:
        async with running_broker(tmp_path / "broker") as running:
            yield running
        return
    from tests.containers import ContainerBroker  # noqa: PLC0415 (as above)

    contained = ContainerBroker(tmp_path / "broker", broker_image)
    try:
        await contained.start()
        yield contained
    finally:
        await contained.stop()


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
    bus = Bus(client)
    await apply_map(bus, pools=("default",))
    yield bus
    await close_connection(client)


def pytest_collection() -> None:
    # CPython 3.11 may fail to compile it in a test's deeper stack ("AST constructor recursion depth mismatch").
    importlib.import_module("hypothesis.strategies._internal.regex")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-samples", action="store_true", help="write the golden samples of the messages anew"
    )
    parser.addoption("--containers", action="store_true", help="run broker and object store in containers")
    parser.addoption("--images", action="store_true", help="build the images and run them")
