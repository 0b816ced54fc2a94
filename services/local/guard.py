"""Who may use a server of local mode: people and programs of this machine, and no page of a stranger's site.

Nobody logs in here, and what listens can start an agent that runs code. So every request must have come to a loopback
name and through no tunnel, and one that changes something must show that no foreign page made the browser send it.
"""

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from services.local.errors import LocalError

LOOPBACK_4 = ipaddress.IPv4Network("127.0.0.0/8")
LOOPBACK_6 = ipaddress.IPv6Address("::1")
CLIENT_HEADER = "X-Threadmill-Client"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# What proxies and tunnels add; a request that carries one did not begin on this machine.
FORWARDING = re.compile(
    r"forwarded|x-forwarded(-.*)?|x-real-ip|x-original-(host|url|forwarded-for)|x-rewrite-url|x-client-ip"
    r"|x-cluster-client-ip|true-client-ip|fastly-client-ip|via|cf-.*|cdn-loop|ngrok-.*|x-ngrok-.*|x-ms-tunnel.*"
    r"|x-tunnel-.*|tailscale-.*|x-envoy-external-address|x-appengine-.*|fly-.*",
    re.IGNORECASE,
)
WAY_OUT = "Local mode has no login and listens on this machine only; use --host 127.0.0.1, localhost or ::1."


class NotLoopbackError(LocalError):
    """The address would be reachable from elsewhere."""


def require_loopback_host(host: str) -> str:
    """The address to bind for this loopback host, brackets gone. Raises NotLoopbackError for every other."""
    address = _loopback_address(host)
    if address is None:
        raise NotLoopbackError(f"{host!r} is not a loopback address. {WAY_OUT}")
    return address


def check_bound(sockets: Iterable[socket.socket]) -> None:
    """Raise NotLoopbackError if one of the listening sockets is bound to anything but loopback."""
    for listening in sockets:
        bound = str(listening.getsockname()[0])
        if _loopback_address(bound) is None:
            raise NotLoopbackError(f"The server came up on {bound}, which is not loopback. {WAY_OUT}")


def guard_middleware(*, exempt: Collection[str] = (), streams: Collection[str] = ()) -> Middleware:
    """The rules as a middleware.

    Paths that begin with an `exempt` prefix carry a secret of their own (a token, a ticket), so the rules for changes
    do not bind them; a foreign Origin is refused there too. `streams` are paths of event streams, whose opening is
    held to the rules of origin though it is a GET, as is every WebSocket's.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        free = any(request.path.startswith(prefix) for prefix in exempt)
        refused = _foreign(request) or (_foreign_origin(request) if free else _unsafe(request, streams))
        return refused or await handler(request)

    return guard


def _foreign(request: web.Request) -> web.Response | None:
    """The rules for every request: a loopback name, and no tunnel."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or _loopback_address(_without_port(hosts[0])) is None:
        return _refuse(403, "The Host header must name this machine (127.0.0.1, localhost or ::1).")
    forwarded = next((name for name in request.headers if FORWARDING.fullmatch(name)), None)
    if forwarded:
        return _refuse(
            403, f"The header {forwarded} shows a proxy or tunnel; come directly from this machine."
        )
    return None


def _unsafe(request: web.Request, streams: Collection[str]) -> web.Response | None:
    """The rules for what changes something, and for what listens on."""
    changes = request.method not in READING
    listens = request.path in streams or "websocket" in request.headers.get("Upgrade", "").lower()
    if not changes and not listens:
        return None
    if not _own(request):
        return _refuse(403, f"Send this from the page itself, or with the header {CLIENT_HEADER}.")
    if changes and not _accepted_media_type(request):
        return _refuse(415, "The body must be application/json.")
    return None


def _own(request: web.Request) -> bool:
    if CLIENT_HEADER in request.headers:
        return True
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.headers['Host']}":
        return False
    return origin is not None or request.headers.get("Sec-Fetch-Site") in {"same-origin", "none"}


def _foreign_origin(request: web.Request) -> web.Response | None:
    origin = request.headers.get("Origin")
    if origin is None or origin == f"http://{request.headers['Host']}":
        return None
    return _refuse(403, "This origin may not speak to a server of this machine.")


def _accepted_media_type(request: web.Request) -> bool:
    if "Content-Type" not in request.headers:
        return False
    if request.content_type == "multipart/form-data":
        return CLIENT_HEADER in request.headers
    return request.content_type == "application/json"


def _loopback_address(host: str) -> str | None:
    """The address that a loopback name stands for, None for every other name."""
    name = host.lower()
    if name == "localhost":
        return "127.0.0.1"
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        address = ipaddress.ip_address(name[1:-1] if bracketed else name)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped) if address.ipv4_mapped in LOOPBACK_4 else None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address) if address in LOOPBACK_4 and not bracketed else None
    return "::1" if address == LOOPBACK_6 else None


def _without_port(host: str) -> str:
    """The Host header's name; IPv6 addresses stand in brackets there."""
    return re.sub(r":\d{1,5}\Z", "", host) if host.startswith("[") or host.count(":") == 1 else host


def _refuse(status: int, sentence: str) -> web.Response:
    return web.json_response({"ok": False, "error": sentence}, status=status)
