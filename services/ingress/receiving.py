"""The way in from Slack, put together: two transports, one intake."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
from aiohttp import web

from schemas.base import now
from services.ingress.attachments import Attachments
from services.ingress.behind import Behind
from services.ingress.capacity import Capacity
from services.ingress.decisions import Show
from services.ingress.details import details
from services.ingress.directory import Directory
from services.ingress.earlier import Earlier
from services.ingress.http import http_routes
from services.ingress.intake import Intake
from services.ingress.missing import bring_missing
from services.ingress.notices import Notices
from services.ingress.sessions import Sessions
from services.ingress.settings import IngressSettings
from services.ingress.settle import Settle
from services.ingress.slack_api import Identity, SlackApi, SlackError
from services.ingress.socket_mode import SocketMode
from services.ingress.storing import Limits, Storing
from services.ingress.writer.samples import Samples
from services.runtime.bus import Bus
from services.runtime.errors import SettingsError
from services.runtime.files import Files
from services.runtime.health import serve

log = structlog.get_logger(__name__)

LATE_WORK = 5.0
TRY_AGAIN = 1.0
# A turn may wait so long for a worker, and the worker for its files.
LEFT_UNDONE = timedelta(hours=1)


class Receiving:
    """Takes what comes from Slack. `run` listens for ever, `drain` finishes what was begun."""

    def __init__(
        self,
        settings: IngressSettings,
        intake: Intake,
        sockets: SocketMode | None,
        behind: Behind,
        capacity: Capacity,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._sockets = sockets
        self._behind = behind
        self._capacity = capacity

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of Slack's requests, for whoever mounts them elsewhere; none without a signing secret."""
        secret = self._settings.signing_secret
        return http_routes(self._intake, secret) if secret else []

    def ready(self) -> bool:
        """Whether Slack can reach us by every way that is configured."""
        return self._sockets is None or self._sockets.ready()

    async def run(self) -> None:
        """Listen for ever."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._behind.stop)
            if self._settings.signing_secret and self._settings.http_port:
                runner = await serve(self.routes(), self._settings.http_host, self._settings.http_port)
                stack.push_async_callback(runner.cleanup)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._capacity.run(), name="capacity")
                if self._sockets:
                    tasks.create_task(self._sockets.run(), name="socket mode")

    async def drain(self) -> None:
        """Take nothing new from Slack's sockets, and finish what was begun."""
        if self._sockets:
            self._sockets.close()
        await self._behind.drain(LATE_WORK)


async def wire_receiving(bus: Bus, api: SlackApi, settings: IngressSettings, samples: Samples) -> Receiving:
    """Return the way in; waits for Slack. Raises `SettingsError` when Slack refuses the bot's token."""
    bot = (await _identify(api)).user_id
    behind, capacity = Behind(), Capacity(bus)
    sessions, directory, notices = Sessions(bus, api), Directory(api, behind), Notices(api, behind)
    files = Files(bus)
    attachments = Attachments(api, files, behind, settings.file_bytes)
    behind.start(bring_missing(bus, files, attachments, now() - LEFT_UNDONE), "missing files")
    storing = Storing(
        bus,
        sessions=sessions,
        directory=directory,
        notices=notices,
        earlier=Earlier(api, directory, bot),
        attachments=attachments,
        capacity=capacity,
        limits=Limits(settings.files, settings.file_bytes),
    )

    def show(wanted: Show) -> None:
        notices.tell(wanted.place, details(samples.last(wanted.key), now()), wanted.id)

    settle = Settle(sessions, directory, settings.access)
    intake = Intake(settle, storing, notices, rules=settings.access, bot=bot, show=show)
    sockets = None
    if settings.app_token:
        sockets = SocketMode(settings.app_token, settings.slack_api_url, intake, settings.socket_connections)
    return Receiving(settings, intake, sockets, behind, capacity)


async def _identify(api: SlackApi) -> Identity:
    while True:
        try:
            return await api.auth_test()
        except SlackError as e:
            if not e.retriable:
                raise SettingsError(
                    f"Slack refuses SLACK_BOT_TOKEN ({e.error}); give the bot's own token"
                ) from e
            log.warning("no Slack yet", error=e.error)
            await asyncio.sleep(e.retry_after or TRY_AGAIN)
