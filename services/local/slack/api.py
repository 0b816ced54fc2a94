"""The door of the Web API: tokens, pace, ordered faults and the record of calls, around the methods."""

import hmac
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from services.local.slack import (
    api_agents,
    api_chat,
    api_conversations,
    api_files,
    api_reactions,
    api_streams,
)
from services.local.slack.answers import UNREADABLE, dumps, form_of
from services.local.slack.calls import Context, Method, Methods, read_arguments
from services.local.slack.errors import SlackError
from services.local.slack.faults import Faults
from services.local.slack.limits import Buckets
from services.local.slack.model import Credentials, Json

METHODS: Methods = {
    **api_agents.METHODS,
    **api_chat.METHODS,
    **api_conversations.METHODS,
    **api_files.METHODS,
    **api_reactions.METHODS,
    **api_streams.METHODS,
}
CALLS_KEPT = 10_000


class WebApi:
    """Answers `/api/<method>`. `calls` is what was received, oldest first, the last ten thousand."""

    def __init__(self, credentials: Credentials, faults: Faults, context: Callable[[str], Context]) -> None:
        self._credentials = credentials
        self._faults = faults
        self._context = context
        self._buckets = Buckets()
        self._received = 0
        self.calls: deque[Json] = deque(maxlen=CALLS_KEPT)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, and write down what was answered."""
        name = request.match_info["method"]
        ctx = self._context(f"http://{request.host}")
        record = self._record(name, ctx.workspace.clock.now())
        try:
            given, token = await _read(request, METHODS.get(name))
            record["args"] = given
            fault = self._faults.for_call(name)
            if fault and not fault.lose_reply:
                return _answer(record, fault.body(), status=fault.status, retry_after=fault.retry_after)
            body, status, retry_after = self._call(ctx, name, given, token)
        except SlackError as e:
            body, status, retry_after, fault = {"ok": False, "error": e.error, **e.details}, 200, None, None
        if fault:
            _cut(request)
            record["reply_lost"] = True
        return _answer(record, body, status=status, retry_after=retry_after)

    def _call(self, ctx: Context, name: str, given: Json, token: str) -> tuple[Json, int, int | None]:
        method = METHODS.get(name)
        if method is None:
            raise SlackError("unknown_method", req_method=name)
        self._authenticate(token, method)
        channel = str(given.get("channel") or given.get("channel_id") or "")
        wait = self._buckets.take(name, method.pace, channel, ctx.workspace.clock.now())
        if wait:
            return {"ok": False, "error": "ratelimited"}, 429, wait
        return {"ok": True, **method.run(ctx, read_arguments(method.arguments, given))}, 200, None

    def _authenticate(self, token: str, method: Method[Any]) -> None:
        if not token:
            raise SlackError("not_authed")
        bot, app = self._credentials.bot_token, self._credentials.app_token
        right, other = (app, bot) if method.app_level else (bot, app)
        if _same(token, right):
            return
        raise SlackError("not_allowed_token_type" if _same(token, other) else "invalid_auth")

    def _record(self, name: str, now: float) -> Json:
        self._received += 1
        record: Json = {"number": self._received, "at": now, "method": name, "args": {}}
        self.calls.append(record)
        return record


async def _read(request: web.Request, method: Method[Any] | None) -> tuple[Json, str]:
    """The arguments of a query, form or JSON body, and the token, which is in none of them afterwards."""
    given: Json = dict(request.query)
    if request.content_type == "application/json":
        body = _json_object(await request.read())
        given |= {} if method and method.form_only else body
    elif request.can_read_body:
        fields = await form_of(request)
        given |= {name: value for name, value in fields.items() if isinstance(value, str)}
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    in_body = given.pop("token", "")
    return given, bearer.strip() if scheme.lower() == "bearer" else str(in_body)


def _json_object(body: bytes) -> Json:
    try:
        decoded = msgspec.json.decode(body or b"{}")
    except UNREADABLE as e:
        raise SlackError("invalid_json") from e
    if not isinstance(decoded, dict):
        raise SlackError("json_not_object")
    return decoded


def _answer(record: Json, body: Json, *, status: int, retry_after: int | None) -> web.Response:
    record["status"] = status
    if not body["ok"]:
        record["error"] = body["error"]
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    return web.json_response(body, status=status, headers=headers, dumps=dumps)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="surrogateescape"), other.encode())
