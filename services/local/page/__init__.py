"""The web page a person talks in: static files and the two routes that serve them.

The page is plain ES modules and CSS as they are in this folder: no build, nothing from another host, no inline script
or style. It speaks to the simulator by `/sim/*` alone and builds its document from nodes, never from strings, so that
what an agent or a person writes stays text. Nothing here knows the simulator or a service.
"""

from pathlib import Path
from typing import Final

from aiohttp import web

_FOLDER: Final = Path(__file__).parent
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """`GET /` is the page, `GET /page/<file>` its scripts, styles and icon; any other name is 404."""
    return [web.get("/", _index), web.get(r"/page/{name:[a-z-]+\.(?:js|css|svg)}", _asset)]


async def _index(_request: web.Request) -> web.FileResponse:
    return _file(_FOLDER / "index.html")


async def _asset(request: web.Request) -> web.FileResponse:
    path = _FOLDER / request.match_info["name"]
    if not path.is_file():
        raise web.HTTPNotFound(text="The page has no such file.")
    return _file(path)


def _file(path: Path) -> web.FileResponse:
    media_type = _TYPES[path.suffix]
    return web.FileResponse(path, headers={**_HEADERS, "Content-Type": f"{media_type}; charset=utf-8"})
