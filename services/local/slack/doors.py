"""`/sim/*`: what people in the workspace do and see, for the page, for scripts and for tests."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from services.local.slack import acts, bodies, events, modals, render
from services.local.slack.answers import answer, bad_request, body_of, converted, query, refusal, refusing
from services.local.slack.api import WebApi
from services.local.slack.calls import Context
from services.local.slack.delivery import Delivery
from services.local.slack.errors import SlackError
from services.local.slack.events import Kind
from services.local.slack.faults import CallFault, DeliveryFault, Faults
from services.local.slack.model import BOT_ID, BOT_NAME, BOT_USER, TEAM, Json
from services.local.slack.parcels import NotTakenError

S = TypeVar("S", bound=msgspec.Struct)
SessionInfo = Callable[[str, str], Awaitable[Json | None]]
Act = Callable[[Context, acts.Send, Any], Json]

ACTS: dict[str, tuple[type[msgspec.Struct], Act]] = {
    "message": (bodies.Say, acts.say),
    "action": (bodies.Press, acts.press),
    "reaction": (bodies.React, acts.react),
    "edit": (bodies.Edit, acts.edit),
    "delete": (bodies.Delete, acts.delete),
    "stop": (bodies.Stop, acts.stop),
}


class Doors:
    """Answers the simulator's own endpoints. A bad body is 400 and an unknown id 404, each with what was wrong."""

    def __init__(
        self,
        *,
        context: Callable[[str], Context],
        delivery: Delivery,
        faults: Faults,
        api: WebApi,
        describe_agent: Callable[[], Json],
        session_info: SessionInfo | None,
    ) -> None:
        self._context = context
        self._delivery = delivery
        self._faults = faults
        self._api = api
        self._describe_agent = describe_agent
        self._session_info = session_info

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            *(web.post(f"/sim/{name}", self._door(shape, act)) for name, (shape, act) in ACTS.items()),
            web.post("/sim/view", self._submit_view),
            web.post("/sim/fault", self._order_fault),
            web.get("/sim/views", self._views),
            web.get("/sim/thread", self._thread),
            web.get("/sim/channel", self._channel),
            web.get("/sim/workspace", self._workspace),
            web.get("/sim/calls", self._calls),
        ]

    def _door(self, shape: type[S], act: Act) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def door(request: web.Request) -> web.StreamResponse:
            body = await body_of(request, shape)
            ctx = self._ctx(request)
            return refusing(lambda: {"ok": True, **act(ctx, partial(self._send, ctx), body)})

        return door

    def _send(self, ctx: Context, kind: Kind, payloads: list[Json], place: str) -> None:
        """Events go in their envelope, a press as it is."""
        wrapped = [events.wrap(ctx.workspace, one) for one in payloads] if kind == "events_api" else payloads
        self._delivery.send(kind, wrapped, place)

    async def _submit_view(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request, bodies.Submit)
        ctx = self._ctx(request)
        try:
            reply = await self._delivery.submit("interactive", modals.submission(ctx, body))
            return answer({"ok": True, **modals.settle(ctx, body.view_id, reply)})
        except SlackError as e:
            return refusal(e)
        except NotTakenError as e:
            return answer({"ok": False, "error": f"The app did not take the entries: {e}."}, status=502)

    async def _order_fault(self, request: web.Request) -> web.StreamResponse:
        given = await body_of(request, dict[str, Any])
        fault = converted(given, DeliveryFault) if "deliver" in given else converted(given, CallFault)
        problem = fault.problem() if isinstance(fault, CallFault) else None
        if problem:
            raise bad_request(problem)
        try:
            self._faults.order(fault)
        except ValueError as e:
            raise bad_request(str(e)) from e
        return answer({"ok": True})

    async def _views(self, request: web.Request) -> web.StreamResponse:
        return refusing(
            lambda: {"ok": True, "views": modals.open_for(self._ctx(request), query(request, "user"))}
        )

    async def _thread(self, request: web.Request) -> web.StreamResponse:
        channel, ts = query(request, "channel"), query(request, "ts")
        ctx = self._ctx(request)
        try:
            messages = ctx.workspace.thread(channel, ts)
        except SlackError as e:
            return refusal(e)
        state = ctx.workspace.thread_state(channel, ts)
        return answer(
            {
                "ok": True,
                "messages": [render.message(ctx.workspace, message, ctx.base) for message in messages],
                "status": state.status,
                "loading_messages": state.loading_messages if state.status else [],
                "session_status": state.session_status,
                "session_title": state.session_title,
                "session": await self._session_info(channel, ts) if self._session_info else None,
            }
        )

    async def _channel(self, request: web.Request) -> web.StreamResponse:
        ctx, channel = self._ctx(request), query(request, "channel")

        def shown() -> Json:
            messages = ctx.workspace.top_level(channel)
            return {
                "ok": True,
                "messages": [render.message(ctx.workspace, message, ctx.base) for message in messages],
            }

        return refusing(shown)

    async def _workspace(self, request: web.Request) -> web.StreamResponse:
        state = self._ctx(request).workspace.state
        people = [person for person in state.people.values() if not person.is_bot]
        shown = {
            "ok": True,
            "team": {"id": TEAM, "name": "Threadmill"},
            "bot": {"id": BOT_USER, "bot_id": BOT_ID, "name": BOT_NAME},
            "users": [{"id": one.id, "name": one.name, "real_name": one.real_name} for one in people],
            "channels": [
                {"id": one.id, "name": one.name, "is_im": one.is_im}
                | ({"user": one.user} if one.is_im else {})
                for one in state.channels.values()
            ],
            "agent": self._describe_agent(),
        }
        return answer(shown)

    async def _calls(self, _: web.Request) -> web.StreamResponse:
        return answer({"ok": True, "calls": list(self._api.calls)})

    def _ctx(self, request: web.Request) -> Context:
        return self._context(f"http://{request.host}")
