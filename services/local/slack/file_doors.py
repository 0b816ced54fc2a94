"""Where file contents go in and out: the upload address, `url_private`, and the page's own view of a file."""

import hmac
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from aiohttp import web

from services.local.slack.answers import UNREADABLE, answer, form_of, refusal
from services.local.slack.api_files import FILE_BYTES
from services.local.slack.calls import Context, read_arguments
from services.local.slack.errors import SlackError
from services.local.slack.model import File
from services.local.slack.responses import Response, respond

# Shown in the page as they are; everything else is only downloaded, so that no file runs as a page of this origin.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class FileDoors:
    """Answers under `/files/` and `/response/`, whose addresses are tickets, and `/sim/file`."""

    def __init__(self, bot_token: str, context: Callable[[str], Context]) -> None:
        self._authorization = f"Bearer {bot_token}".encode()
        self._context = context

    async def upload(self, request: web.Request) -> web.Response:
        """Take the bytes of a file, raw or as a multipart form's `file`; exactly as many as were announced."""
        ctx = self._ctx(request)
        content = await _uploaded_bytes(request)
        file = ctx.tickets.redeem("upload", request.match_info["ticket"], ctx.workspace.clock.now())
        if file is None:
            return web.Response(status=404, text="This upload address is unknown or used.")
        if len(content) != ctx.workspace.file(file).size:
            return web.Response(status=400, text="The size is not the announced one.")
        ctx.contents.put(file, content)
        return web.Response(text=f"OK - {len(content)}")

    async def download(self, request: web.Request) -> web.Response:
        """`url_private`: to the bearer of the bot's token. Slack sends others to its login page."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._authorization):
            raise web.HTTPFound("/signin")
        return self._content(request, request.match_info["file"])

    async def show(self, request: web.Request) -> web.Response:
        """`GET /sim/file?id=F`: for the page."""
        return self._content(request, request.query.get("id", ""))

    async def respond(self, request: web.Request) -> web.Response:
        """Take an answer at a `response_url`."""
        ctx = self._ctx(request)
        target = ctx.tickets.redeem("response", request.match_info["ticket"], ctx.workspace.clock.now())
        if target is None:
            return answer({"ok": False, "error": "used_url"}, status=404)
        try:
            respond(ctx, target, read_arguments(Response, await _object(request)))
        except SlackError as e:
            return refusal(e)
        return answer({"ok": True})

    def _content(self, request: web.Request, name: str) -> web.Response:
        ctx = self._ctx(request)
        file = ctx.workspace.state.files.get(name)
        content = ctx.contents.get(file.id) if file else None
        if file is None or content is None:
            return answer({"ok": False, "error": "file_not_found"}, status=404)
        return web.Response(body=content, headers=_safe_headers(file))

    def _ctx(self, request: web.Request) -> Context:
        return self._context(f"http://{request.host}")


def _safe_headers(file: File) -> dict[str, str]:
    manner = "inline" if file.media_type in SHOWN else "attachment"
    return {
        "Content-Type": file.media_type,
        "Content-Disposition": f"{manner}; filename*=UTF-8''{quote(file.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-store",
    }


async def _uploaded_bytes(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    try:
        part = (await form_of(request)).get("file")
    except SlackError as e:
        raise web.HTTPBadRequest(text="The form cannot be read.") from e
    if not isinstance(part, web.FileField):
        raise web.HTTPBadRequest(text="The form has no file.")
    return part.file.read(FILE_BYTES + 1)


async def _object(request: web.Request) -> dict[str, object]:
    try:
        body = msgspec.json.decode(await request.read())
    except UNREADABLE as e:
        raise SlackError("invalid_json") from e
    if not isinstance(body, dict):
        raise SlackError("invalid_payload")
    return body
