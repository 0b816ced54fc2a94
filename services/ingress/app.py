"""Ingress put together: the way in from Slack, and the way back."""

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web

from services.ingress.receiving import Receiving, wire_receiving
from services.ingress.settings import IngressSettings
from services.ingress.slack_api import SlackApi
from services.ingress.writer.app import Writer, wire_writer
from services.runtime.bus import Bus
from services.runtime.health import Readiness


class Ingress:
    """The service, wired: both halves share Slack's API."""

    def __init__(self, api: SlackApi, receiving: Receiving, writer: Writer) -> None:
        self._api = api
        self._receiving = receiving
        self._writer = writer

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of Slack's requests, for whoever mounts them elsewhere; none without a signing secret."""
        return self._receiving.routes()

    async def run(self) -> None:
        """Work for ever."""
        async with self._api, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receiving.run(), name="receiving")
            tasks.create_task(self._writer.run(), name="writer")

    async def drain(self) -> None:
        """Take nothing new, finish what was begun."""
        await self._receiving.drain()
        await self._writer.drain()


async def wire(bus: Bus, readiness: Readiness, settings: IngressSettings) -> Ingress:
    """Return ingress on `bus`; waits for Slack. Raises `SettingsError` when Slack refuses the bot's token."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(SlackApi(settings.bot_token, base_url=settings.slack_api_url))
        writer = await wire_writer(bus, api, settings.writer)
        receiving = await wire_receiving(bus, api, settings, writer.samples)
        stack.pop_all()
    readiness.add("receiving", receiving.ready)
    readiness.add("writer", lambda: writer.ready)
    return Ingress(api, receiving, writer)
