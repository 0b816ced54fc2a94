"""A real Chromium on the real page, and a bot that speaks to the simulator by Slack's own client."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect
from slack_sdk.web.async_client import AsyncWebClient

from services.local.page import routes
from services.local.slack.app import Simulator
from tests.browser.install import find

FLAGS = (
    "--no-sandbox",  # CI runs as root, where Chromium's own sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 20  # seconds for anything to appear; two cores may be busy with other tests
expect.set_options(timeout=PATIENCE * 1000)
DESKTOP = ViewportSize(width=1280, height=860)
SESSION = {
    "key": "T1.C1.1-1",
    "status": "active",
    "cost_usd": 0.1834,
    "branch": "threadmill/csv-tail",
    "repo": "https://git.example/acme/importer.git",
    "agent": "recorded",
    "turns": 2,
}


class Door:
    """The simulator with its page on a port of its own, and what the product would tell it about sessions."""

    def __init__(self) -> None:
        self.session: dict[str, object] | None = None
        self.simulator = Simulator(describe_agent=self._agent, session_info=self._session)
        self.simulator.app.add_routes(routes())
        self._runner = web.AppRunner(self.simulator.app, shutdown_timeout=0.5)
        self.url = ""

    def _agent(self) -> dict[str, object]:
        return {"name": "recorded", "real": False, "hint": "Set ANTHROPIC_API_KEY and start again."}

    async def _session(self, _channel: str, _ts: str) -> dict[str, object] | None:
        return self.session

    async def open(self) -> None:
        await self._runner.setup()
        await self.simulator.start()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self.simulator.stop()
        await self._runner.cleanup()


class Wire:
    """A relay in front of the simulator that can be cut and mended, on the same port."""

    def __init__(self, target: str) -> None:
        self._target = int(target.rpartition(":")[2])
        self._port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, far_writer}
        for one, other in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        self._open.discard(writer)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


@pytest.fixture
async def wire(door: Door) -> AsyncIterator[Wire]:
    wire = Wire(door.url)
    await wire.mend()
    yield wire
    await wire.cut()


@pytest.fixture
async def bot(door: Door) -> AsyncWebClient:
    return AsyncWebClient(token=door.simulator.bot_token, base_url=f"{door.url}/api/")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = find()
    if path is None:
        reason = "No Chromium is here; `python -m tests.browser.install` tells how to get one."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, door: Door) -> AsyncIterator[Page]:
    """The page as a person first sees it; any error of its own or request to another host fails the test."""
    page = await browser.new_page(viewport=DESKTOP, color_scheme="light")
    page.set_default_timeout(PATIENCE * 1000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None
    )
    page.on("request", lambda one: None if one.url.startswith(door.url) else wrong.append(one.url))
    await page.goto(f"{door.url}/")
    await expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
    yield page
    await page.close()
    assert wrong == []


class Heard:
    """What Slack delivered to the bot, in order: event payloads and presses."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self, request: web.Request) -> web.Response:
        if request.path.endswith("interactive"):
            self._queue.put_nowait(json.loads(str((await request.post())["payload"])))
        else:
            self._queue.put_nowait((await request.json())["event"])
        return web.Response()

    async def next(self, kind: str) -> dict[str, Any]:
        """The next delivery of this type; others on the way are passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                payload = await self._queue.get()
                if payload["type"] == kind:
                    return payload


@pytest.fixture
async def heard(door: Door) -> AsyncIterator[Heard]:
    heard = Heard()
    app = web.Application()
    app.router.add_post("/slack/{kind}", heard.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    door.simulator.deliver_to(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield heard
    door.simulator.deliver_to(None)
    await runner.cleanup()


@pytest.fixture
async def asked(page: Page, heard: Heard) -> str:
    """The `ts` of a message that Ada has just sent to the bot in #general; its thread is open."""
    await page.get_by_role("textbox", name="Message").fill("tidy the imports")
    await page.keyboard.press("Enter")
    mention = await heard.next("app_mention")
    await expect(page.locator("#thread-messages")).to_contain_text("tidy the imports")
    return str(mention["ts"])
