"""Slack as the simulator, a real broker, and ingress between them, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from schemas.base import Message
from schemas.inputs import CONTROLS, INPUTS
from services.ingress.app import Ingress, wire
from services.ingress.settings import IngressSettings
from services.local.guard import CLIENT_HEADER
from services.local.slack.app import Simulator
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.runtime.health import Readiness
from services.runtime.lifecycle import cancel


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


class Slack:
    """What people do in the simulated workspace, and what they see."""

    def __init__(self, simulator: Simulator, url: str, client: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.url = url
        self._client = client

    async def act(self, door: str, **body: Any) -> dict[str, Any]:
        async with self._client.post(
            f"{self.url}/sim/{door}", json=body, headers={CLIENT_HEADER: "test"}
        ) as reply:
            answer: dict[str, Any] = await reply.json()
            assert answer["ok"], answer
            return answer

    async def look(self, door: str, **query: Any) -> dict[str, Any]:
        async with self._client.get(f"{self.url}/sim/{door}", params=query) as reply:
            return dict(await reply.json())

    async def says(self, text: str, *, user: str = "U1", channel: str = "C1", **more: Any) -> str:
        return str((await self.act("message", user=user, channel=channel, text=text, **more))["ts"])

    async def fault(self, **fault: Any) -> None:
        await self.act("fault", **fault)

    async def calls(self, method: str) -> list[dict[str, Any]]:
        return [call for call in (await self.look("calls"))["calls"] if call["method"] == method]


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    simulator = Simulator(time_scale=0.01)
    runner, url = await serve(simulator.app)
    await simulator.start()
    async with aiohttp.ClientSession() as client:
        yield Slack(simulator, url, client)
    await simulator.stop()
    await runner.cleanup()


class Door:
    """A running ingress, and the address where it takes Slack's requests."""

    def __init__(self, service: Ingress, url: str) -> None:
        self.service = service
        self.url = url


@contextlib.asynccontextmanager
async def running(bus: Bus, slack: Slack, **settings: Any) -> AsyncIterator[Door]:
    given = {
        "bot_token": slack.simulator.bot_token,
        "signing_secret": slack.simulator.signing_secret,
        "slack_api_url": f"{slack.url}/api/",
        "http_port": 0,
    }
    service = await wire(bus, Readiness({}), msgspec.convert(given | settings, IngressSettings))
    app = web.Application()
    app.add_routes(service.routes())
    runner, url = await serve(app)
    if service.routes():
        slack.simulator.deliver_to(url)
    task = asyncio.create_task(service.run())
    try:
        yield Door(service, url)
    finally:
        slack.simulator.deliver_to(None)
        await service.drain()
        await cancel(task)
        await runner.cleanup()


@pytest.fixture
async def ingress(bus: Bus, slack: Slack) -> AsyncIterator[Door]:
    async with running(bus, slack) as door:
        yield door


async def eventually(look: Callable[[], Any], *, within: float = 10.0) -> Any:
    """Return what `look` finds as soon as it finds something."""
    async with asyncio.timeout(within):
        while True:
            found = await look()
            if found:
                return found
            await asyncio.sleep(0.01)


async def stored(bus: Bus) -> dict[str, Message]:
    """Return all inputs and controls: subject (and sequence, for controls) to message, in order."""
    found: dict[str, Message] = {}
    for delivery in await read(bus, "SESSIONS", ["session.*.*.*.in.*", "session.*.*.*.control"]):
        family = CONTROLS if delivery.subject.endswith(".control") else INPUTS
        message = family.decode(delivery.data)
        assert isinstance(message, Message)
        name = delivery.subject.removeprefix("session.")
        found[f"{name}#{delivery.sequence}" if family is CONTROLS else name] = message
    return found
