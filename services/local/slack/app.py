"""The simulator put together: one workspace, its Web API, its doors, its deliveries."""

from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from services.local.guard import guard_middleware
from services.local.slack import events, persistence
from services.local.slack.api import WebApi
from services.local.slack.api_files import FILE_BYTES
from services.local.slack.calls import Context
from services.local.slack.clock import Clock, ScaledClock
from services.local.slack.content import Contents
from services.local.slack.delivery import ACK_WITHIN, Delivery
from services.local.slack.doors import Doors, SessionInfo
from services.local.slack.faults import Faults
from services.local.slack.file_doors import FileDoors
from services.local.slack.http_transport import HttpTransport
from services.local.slack.model import Credentials, Json, seed
from services.local.slack.persistence import Keeper
from services.local.slack.socket_mode import Sockets
from services.local.slack.tickets import Tickets
from services.local.slack.watch import Watchers
from services.local.slack.workspace import Workspace

# A message with the largest file, in base64.
MOST_BODY = FILE_BYTES * 4 // 3 + 1024 * 1024
# These carry a secret of their own: a token, a ticket in the address, or (where the app shares the port) a signature.
WITH_OWN_SECRET = ("/api/", "/slack/", "/files/upload/", "/files/private/", "/response/", "/socket/")


class Simulator:
    """A Slack workspace behind `app`, with the guard's rules applied; `start` and `stop` frame its deliveries.

    `time_scale` shortens Slack's long waits. `describe_agent` and `session_info` (channel, thread's `ts`) answer what
    the page asks about the product. `persist` is the file that keeps the workspace; `credentials` win over those in it.
    Raises UnreadableWorkspaceError.
    """

    def __init__(
        self,
        *,
        time_scale: float = 1.0,
        describe_agent: Callable[[], Json] | None = None,
        session_info: SessionInfo | None = None,
        persist: Path | None = None,
        credentials: Credentials | None = None,
        clock: Clock | None = None,
        ack_within: float = ACK_WITHIN,
    ) -> None:
        clock = clock or ScaledClock(time_scale)
        state = (persistence.load(persist) if persist else None) or seed()
        if credentials:
            state.credentials = credentials
        self.workspace = Workspace(state, clock)
        for person in [each.id for each in state.people.values() if not each.is_bot]:
            self.workspace.open_direct(person)
        self.bot_token = state.credentials.bot_token
        self.app_token = state.credentials.app_token
        self.signing_secret = state.credentials.signing_secret
        self.faults = Faults()
        self._tickets = Tickets()
        self._contents = Contents(persist.with_name(f"{persist.name}.files") if persist else None)
        self._views: dict[str, Json] = {}
        self._watchers = Watchers()
        self._sockets = Sockets(admit=self._admit, ack_within=ack_within)
        self._http = HttpTransport(signing_secret=self.signing_secret, clock=clock, timeout=ack_within)
        self._delivery = Delivery(http=self._http, sockets=self._sockets, faults=self.faults, clock=clock)
        self._api = WebApi(state.credentials, self.faults, self._context)
        self._doors = Doors(
            context=self._context,
            delivery=self._delivery,
            faults=self.faults,
            api=self._api,
            describe_agent=describe_agent or dict,
            session_info=session_info,
        )
        self.workspace.listeners.append(self._watchers.changed)
        self._keeper = Keeper(persist, state) if persist else None
        if self._keeper:
            self.workspace.listeners.append(self._keeper.changed)
        self.app = self._build()

    def deliver_to(self, url: str | None) -> None:
        """Where the app listens for HTTP: POST to `/slack/events` and `/slack/interactive` under this address."""
        self._http.url = url.rstrip("/") if url else None

    async def start(self) -> None:
        """Begin to deliver, and to keep what changes."""
        await self._http.start()
        if self._keeper:
            self._keeper.start()

    async def stop(self) -> None:
        """End deliveries, sockets and event streams, and keep the rest; nothing is left running."""
        self._watchers.close()
        await self._sockets.close()
        await self._delivery.stop()
        await self._http.stop()
        if self._keeper:
            await self._keeper.stop()

    def _build(self) -> web.Application:
        app = web.Application(
            middlewares=[guard_middleware(exempt=WITH_OWN_SECRET, streams=("/sim/events",))],
            client_max_size=MOST_BODY,
        )
        files = FileDoors(self.bot_token, self._context)
        app.add_routes(
            [
                *self._doors.routes(),
                web.get("/sim/events", self._watchers.serve),
                web.get("/sim/file", files.show),
                web.route("*", "/api/{method}", self._api.answer),
                web.get("/socket/", self._sockets.serve),
                web.post("/files/upload/{ticket}", files.upload),
                web.get("/files/private/{file}/{name}", files.download),
                web.post("/response/{ticket}", files.respond),
            ]
        )
        app.on_shutdown.append(self._close_streams)
        return app

    async def _close_streams(self, _: web.Application) -> None:
        self._watchers.close()
        await self._sockets.close()

    def _context(self, base: str) -> Context:
        return Context(
            workspace=self.workspace,
            base=base,
            emit=self._emit,
            tickets=self._tickets,
            contents=self._contents,
            views=self._views,
        )

    def _emit(self, echoes: list[Json]) -> None:
        """What the app itself did comes back to it as events, as in Slack."""
        place = str(echoes[0].get("channel", ""))
        self._delivery.send(
            "events_api", [events.wrap(self.workspace, echo) for echo in echoes], place, by_person=False
        )

    def _admit(self, ticket: str) -> bool:
        return self._tickets.redeem("socket", ticket, self.workspace.clock.now()) is not None
