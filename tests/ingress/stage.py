"""The stage of the stories: people in the simulated Slack, ingress behind real sockets, the log on a real broker."""

import asyncio
import contextlib
import io
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from schemas.base import Message
from schemas.inputs import CONTROLS, INPUTS
from services.ingress.receiving import Receiving, wire_receiving
from services.ingress.settings import IngressSettings
from services.ingress.signature import sign
from services.ingress.slack_api import SlackApi
from services.ingress.writer.samples import Samples
from services.local.guard import CLIENT_HEADER
from services.local.slack.app import Simulator
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.runtime.tasks import cancel

_numbers = itertools.count()


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, auto_decompress=False)
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
        self.door: Door | None = None

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

    def api(self) -> SlackApi:
        """Slack as the bot sees it."""
        return SlackApi(self.simulator.bot_token, base_url=f"{self.url}/api/")

    def now(self, seconds: float = 0.0) -> str:
        """A `ts` that nobody used, some seconds from now."""
        whole, micros = divmod(int((time.time() + seconds) * 1e6) + next(_numbers), 1_000_000)
        return f"{whole}.{micros:06d}"

    def event(self, event: dict[str, Any], **more: Any) -> bytes:
        """The body that Slack would send for an event."""
        authorization = {"team_id": "T1", "user_id": "UBOT", "is_bot": True}
        outer = {
            "type": "event_callback",
            "team_id": "T1",
            "api_app_id": "A1",
            "authorizations": [authorization],
        }
        return msgspec.json.encode(outer | {"event": event} | more)

    async def post(
        self, door: "Door", body: bytes, path: str = "/slack/events", **headers: str
    ) -> tuple[int, bytes]:
        """Send a signed body to ingress; `headers` replace what Slack would send."""
        timestamp = str(int(time.time()))
        signed = {
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(self.simulator.signing_secret, timestamp, body),
        }
        async with self._client.post(
            f"{door.url}{path}", data=io.BytesIO(body), headers=signed | headers
        ) as reply:
            return reply.status, await reply.read()

    async def settled(self) -> None:
        """Return when everything that people did so far was delivered, or given up."""

        async def quiet() -> bool:
            return not self.simulator._delivery._tasks

        await eventually(quiet)
        if self.door:
            await self.door.service._behind.drain(5)

    async def calls(self, method: str) -> list[dict[str, Any]]:
        return [call for call in (await self.look("calls"))["calls"] if call["method"] == method]


class Door:
    """A running ingress, and the address where it takes Slack's requests."""

    def __init__(self, service: Receiving, url: str) -> None:
        self.service = service
        self.url = url


@contextlib.asynccontextmanager
async def running(
    bus: Bus, slack: Slack, *, samples: Samples | None = None, **settings: Any
) -> AsyncIterator[Door]:
    given = {
        "bot_token": slack.simulator.bot_token,
        "signing_secret": slack.simulator.signing_secret,
        "slack_api_url": f"{slack.url}/api/",
        "http_port": 0,
    }
    samples = samples or Samples()
    api = slack.api()
    service = await wire_receiving(bus, api, msgspec.convert(given | settings, IngressSettings), samples)
    app = web.Application()
    app.add_routes(service.routes())
    runner, url = await serve(app)
    if service.routes():
        slack.simulator.deliver_to(url)
    task = asyncio.create_task(service.run())
    slack.door = Door(service, url)
    try:
        yield slack.door
    finally:
        slack.door = None
        slack.simulator.deliver_to(None)
        await service.drain()
        await cancel(task)
        await api.close()
        await runner.cleanup()


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
