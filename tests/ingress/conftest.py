"""Slack as the simulator, a real broker, and ingress between them, over real sockets."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.local.slack.app import Simulator
from services.runtime.bus import Bus
from tests.ingress.stage import Door, Slack, running, serve


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    simulator = Simulator(time_scale=0.01)
    runner, url = await serve(simulator.app)
    await simulator.start()
    async with aiohttp.ClientSession() as client:
        yield Slack(simulator, url, client)
    await simulator.stop()
    await runner.cleanup()


@pytest.fixture
async def ingress(bus: Bus, slack: Slack) -> AsyncIterator[Door]:
    async with running(bus, slack) as door:
        yield door
