"""Puts ingress together: the way in from Slack, and the way back."""

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web

from services.ingress.http import http_routes
from services.ingress.intake import Intake
from services.ingress.sessions import Sessions
from services.ingress.settings import IngressSettings
from services.ingress.slack_api import SlackApi
from services.runtime.bus import Bus
from services.runtime.health import Readiness, serve


class Ingress:
    """The service, wired. `routes` are Slack's requests, for whoever mounts them elsewhere."""

    def __init__(self, settings: IngressSettings, api: SlackApi, intake: Intake) -> None:
        self._settings = settings
        self._api = api
        self._intake = intake

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of Slack's requests; none without a signing secret."""
        secret = self._settings.signing_secret
        return http_routes(self._intake, secret) if secret else []

    async def run(self) -> None:
        """Listen for ever."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._api.close)
            if self._settings.signing_secret and self._settings.http_port:
                runner = await serve(self.routes(), self._settings.http_host, self._settings.http_port)
                stack.push_async_callback(runner.cleanup)
            await asyncio.Event().wait()

    async def drain(self) -> None:
        """Finish what was begun."""


async def wire(bus: Bus, readiness: Readiness, settings: IngressSettings) -> Ingress:
    """Return ingress on `bus`."""
    api = SlackApi(settings.bot_token, base_url=settings.slack_api_url)
    identity = await api.auth_test()
    intake = Intake(bus, Sessions(bus, api), settings.access, identity.user_id)
    return Ingress(settings, api, intake)
