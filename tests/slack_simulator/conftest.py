"""A simulator on a real socket, an app that listens to it, and Slack's own SDK as its client."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from services.local.slack.app import Simulator

DEADLINE = 10.0
CLIENT = {"X-Threadmill-Client": "test"}


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@dataclass
class Delivered:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def payload(self) -> dict[str, Any]:
        text = self.body.decode()
        return json.loads(parse_qs(text)["payload"][0] if self.path == "/slack/interactive" else text)

    @property
    def event(self) -> dict[str, Any]:
        return self.payload["event"]


@dataclass
class Listener:
    """The app's HTTP side. `answers` are the next statuses; then it is always 200 with `reply`."""

    secret: str
    received: list[Delivered] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert SignatureVerifier(self.secret).is_valid_request(body, dict(request.headers))
        async with self._news:
            self.received.append(Delivered(request.path, dict(request.headers), body))
            self._news.notify_all()
        if self.hold:
            await self.hold.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.json_response(self.reply, status=status, headers=self.headers)

    async def until(self, enough: Callable[[list[Delivered]], bool]) -> list[Delivered]:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: enough(self.received))
        return self.received

    async def events(self, count: int, kind: str | None = None) -> list[dict[str, Any]]:
        def matching(received: list[Delivered]) -> list[dict[str, Any]]:
            events = [one.event for one in received if one.path == "/slack/events"]
            return [event for event in events if kind is None or event["type"] == kind]

        return matching(await self.until(lambda received: len(matching(received)) >= count))[:count]


@dataclass
class World:
    simulator: Simulator
    url: str
    slack: AsyncWebClient
    http: aiohttp.ClientSession
    listener: Listener

    async def sim(self, door: str, /, **body: Any) -> dict[str, Any]:
        async with self.http.post(f"{self.url}/sim/{door}", json=body, headers=CLIENT) as response:
            answer = await response.json()
            return answer | {"http": response.status}

    async def say(self, text: str, *, user: str = "U1", channel: str = "C1", **more: Any) -> str:
        answer = await self.sim("message", user=user, channel=channel, text=text, **more)
        assert answer["ok"], answer
        return answer["ts"]

    async def look(self, path: str, **query: str) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/sim/{path}", params=query) as response:
            return await response.json() | {"http": response.status}

    async def thread(self, ts: str, channel: str = "C1") -> dict[str, Any]:
        return await self.look("thread", channel=channel, ts=ts)


@asynccontextmanager
async def world(simulator: Simulator) -> AsyncIterator[World]:
    listener = Listener(simulator.signing_secret)
    app = web.Application()
    app.add_routes([web.post("/slack/events", listener.take), web.post("/slack/interactive", listener.take)])
    async with serving(app) as app_url, serving(simulator.app) as url, aiohttp.ClientSession() as http:
        simulator.deliver_to(app_url)
        await simulator.start()
        slack = AsyncWebClient(token=simulator.bot_token, base_url=f"{url}/api/", session=http)
        try:
            yield World(simulator, url, slack, http, listener)
        finally:
            await simulator.stop()


@pytest.fixture
async def slack_world() -> AsyncIterator[World]:
    async with world(Simulator(time_scale=0.001)) as one:
        yield one
