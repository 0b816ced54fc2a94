"""Slack's requests: a bound, a signature, then the intake; nothing is parsed before both hold."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from services.ingress.intake import Intake, Reply
from services.ingress.metrics import REDELIVERED
from services.ingress.signature import fresh, genuine
from services.runtime.metrics import REFUSED

MOST_BODY = 2**20
# A body that trickles in is no body of Slack's.
BODY_WITHIN = 3.0

Take = Callable[[bytes], Awaitable[Reply]]


def http_routes(intake: Intake, secret: str) -> list[web.RouteDef]:
    """Return the routes of Slack's requests, to be mounted at the root of an aiohttp application."""

    async def events(request: web.Request) -> web.Response:
        return await _serve(request, secret, intake.event)

    async def interactive(request: web.Request) -> web.Response:
        async def take(body: bytes) -> Reply:
            return await intake.interaction(_form(body))

        return await _serve(request, secret, take)

    return [web.post("/slack/events", events), web.post("/slack/interactive", interactive)]


async def _serve(request: web.Request, secret: str, take: Take) -> web.Response:
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    if not fresh(timestamp, time.time()):
        return _refused(HTTPStatus.UNAUTHORIZED, "stale", "the request's time is missing or outside of 300 s")
    try:
        async with asyncio.timeout(None if request.content.is_eof() else BODY_WITHIN):
            body = await _body(request)
    except TimeoutError:
        return _refused(
            HTTPStatus.REQUEST_TIMEOUT, "slow_body", f"the body took longer than {BODY_WITHIN:g} s"
        )
    except ConnectionError:
        return _refused(HTTPStatus.BAD_REQUEST, "cut_body", "the connection ended before the body did")
    if body is None:
        return _refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "oversized", f"the body is larger than {MOST_BODY} bytes"
        )
    if not genuine(secret, timestamp, request.headers.get("X-Slack-Signature", ""), body):
        return _refused(HTTPStatus.UNAUTHORIZED, "forged", "the signature is not Slack's")
    if "X-Slack-Retry-Num" in request.headers:
        REDELIVERED.inc()
    return _answer(await take(body))


async def _body(request: web.Request) -> bytes | None:
    if (request.content_length or 0) > MOST_BODY:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BODY:
            return None
    return bytes(body)


def _form(body: bytes) -> bytes:
    """The JSON in the field `payload` of a form; empty when there is none."""
    try:
        fields = parse_qs(body, max_num_fields=8)
    except ValueError:
        return b""
    return fields.get(b"payload", [b""])[0]


def _answer(reply: Reply) -> web.Response:
    if reply.body is None:
        return web.Response(status=reply.status)
    return web.Response(
        status=reply.status, body=msgspec.json.encode(reply.body), content_type="application/json"
    )


def _refused(status: HTTPStatus, reason: str, sentence: str) -> web.Response:
    REFUSED.labels("ingress", reason).inc()
    return _answer(Reply(status, {"error": sentence}))
