"""All of Threadmill in one process and its workers: what `threadmill dev` runs, and the tests of the whole system."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec

from schemas.buckets import Summary
from schemas.bus import SUMMARIES
from schemas.keys import InvalidKey, SessionKey
from services.local.ground import DevSettings, Ground, prepared
from services.local.guard import require_loopback_host
from services.local.home import Address
from services.local.page import routes as page_routes
from services.local.parts import Parts, wired
from services.local.server import SlackDoor, empty_app, listen, local_routes, url_of
from services.local.slack.app import Simulator
from services.runtime.bucket import Bucket

Prepare = Callable[[DevSettings], AbstractAsyncContextManager[Ground]]


@dataclass(frozen=True)
class Dev:
    """A running local mode: `url` is its address; `simulator` is None on the real Slack."""

    ground: Ground
    url: str
    simulator: Simulator | None
    parts: Parts


@contextlib.asynccontextmanager
async def running_dev(settings: DevSettings, prepare: Prepare = prepared) -> AsyncIterator[Dev]:
    """Run everything for the body, on the ground that `prepare` makes; drain and leave nothing behind.

    Raises `LocalError` when it cannot begin.
    """
    require_loopback_host(settings.host)
    async with contextlib.AsyncExitStack() as stack:
        ground = await stack.enter_async_context(prepare(settings))
        door = SlackDoor()
        ground.readiness.add("services", door.is_open)
        simulator = None if settings.real_slack else _simulator(ground)
        app = simulator.app if simulator else empty_app()
        app.add_routes([*local_routes(ground.home, ground.readiness), *(door.routes() if simulator else [])])
        runner, port = await listen(app, settings.host, settings.port)
        stack.push_async_callback(runner.cleanup)
        url = url_of(settings.host, port)
        if simulator:
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            simulator.deliver_to(url)
        parts = await stack.enter_async_context(wired(ground, simulator, url))
        door.open(parts.slack_routes)
        ground.home.announce(
            Address(url=url, nats=ground.broker.url, pid=os.getpid(), agent=ground.choice.agent)
        )
        yield Dev(ground, url, simulator, parts)
        ground.readiness.draining = True


def _simulator(ground: Ground) -> Simulator:
    summaries, choice = Bucket(ground.bus, SUMMARIES.name, Summary), ground.choice

    async def session_info(channel: str, ts: str) -> dict[str, object] | None:
        try:
            key = SessionKey.of_thread("T1", channel, ts)
        except InvalidKey:
            return None
        summary = (await summaries.get(str(key))).value
        return None if summary is None else {"key": str(key)} | msgspec.to_builtins(summary)

    simulator = Simulator(
        time_scale=ground.settings.time_scale,
        describe_agent=lambda: {"name": choice.agent, "real": choice.real, "hint": choice.hint},
        session_info=session_info,
        persist=ground.home.path / "slack.json",
    )
    simulator.app.add_routes(page_routes())
    return simulator
