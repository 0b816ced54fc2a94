"""Local mode is a door to the laptop. Each rule of who may use it, on a real socket."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from services.local.guard import NotLoopbackError, check_bound, guard_middleware, require_loopback_host
from tests.slack_simulator.conftest import World, serving

JSON = {"Content-Type": "application/json"}
CLIENT = {"X-Threadmill-Client": "test"}


async def answer(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path})


async def echo(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    await connection.close()
    return connection


@pytest.fixture
async def door() -> AsyncIterator[str]:
    app = web.Application(middlewares=[guard_middleware(exempt=("/api/",), streams=("/events",))])
    app.add_routes([web.route("*", path, answer) for path in ("/", "/events", "/api/{method}")])
    app.add_routes([web.get("/ws", echo)])
    async with serving(app) as url:
        yield url


async def status(url: str, method: str = "GET", *, body: bytes | None = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, data=body, headers=named, skip_auto_headers=["Content-Type"]) as response,
    ):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
        return response.status


LOOPBACK = {
    "localhost": "127.0.0.1",
    "LocalHost": "127.0.0.1",
    "127.0.0.1": "127.0.0.1",
    "127.255.255.254": "127.255.255.254",
    "::1": "::1",
    "[::1]": "::1",
    "::ffff:127.0.0.1": "127.0.0.1",
    "::FFFF:127.1.2.3": "127.1.2.3",
    "[::ffff:127.0.0.1]": "127.0.0.1",
}
NOT_LOOPBACK = [
    "", " ", "0.0.0.0", "::", "[::]", "*", "127.0.0.256", "127.0.0.1.evil.org", "127.1", "127.0.0.01", "0x7f.0.0.1",
    "2130706433", "localhost.", "localhost.evil.org", "evil-localhost", "128.0.0.1", "10.0.0.1", "192.168.0.1", "::2",
    "::ffff:10.0.0.1", "::ffff:128.0.0.1", "[127.0.0.1]", "[localhost]", "::1%lo", "127.0.0.1\n", "[::1", "::1]",
]  # fmt: skip


@pytest.mark.parametrize(("host", "address"), LOOPBACK.items())
def test_a_loopback_host_may_be_bound(host: str, address: str) -> None:
    assert require_loopback_host(host) == address


@pytest.mark.parametrize("host", NOT_LOOPBACK)
def test_any_other_host_is_refused_with_the_way_out(host: str) -> None:
    with pytest.raises(NotLoopbackError, match=r"127\.0\.0\.1"):
        require_loopback_host(host)


@given(st.text(max_size=40) | st.ip_addresses().map(str))
def test_whatever_passes_is_loopback(host: str) -> None:
    try:
        address = require_loopback_host(host)
    except NotLoopbackError:
        return
    assert ipaddress.ip_address(address).is_loopback


def test_what_is_really_bound_is_checked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        check_bound([inside])
        with socket.create_server(("0.0.0.0", 0)) as outside, pytest.raises(NotLoopbackError):
            check_bound([inside, outside])


@pytest.mark.parametrize("host", ["evil.org", "evil.org:80", "0.0.0.0", "127.0.0.1.evil.org", "10.0.0.1:8700", "[::2]:80", "localhost:evil"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/auth.test"])
async def test_a_foreign_host_is_refused_reads_included(door: str, host: str, path: str) -> None:
    assert await status(f"{door}{path}", Host=host) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8700", "[::1]:8700", "[::ffff:127.0.0.1]:1", "127.9.9.9:80"])  # fmt: skip
async def test_a_loopback_host_may_read(door: str, host: str) -> None:
    assert await status(door, Host=host) == 200


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.org\r\n\r\n"])  # fmt: skip
async def test_no_host_and_two_hosts_are_refused(door: str, head: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.rpartition(":")[2]))
    writer.write(head)
    first = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert first.split()[1] in {b"403", b"400"}


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "X-Real-IP", "CF-Connecting-IP", "Cdn-Loop", "Via", "True-Client-IP", "Ngrok-Trace-Id", "Tailscale-User-Login", "X-Original-Host"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/auth.test"])
async def test_what_came_through_a_tunnel_is_refused(door: str, header: str, path: str) -> None:
    assert await status(f"{door}{path}", **{header: "x"}) == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_a_change_shows_where_it_comes_from(door: str, method: str) -> None:
    async def send(**headers: str) -> int:
        return await status(door, method, body=b"{}", **(JSON | headers))

    assert await send() == 403
    assert await send(Origin="http://evil.org") == 403
    assert await send(Origin="null") == 403
    assert await send(Sec_Fetch_Site="cross-site") == 403
    assert await send(Sec_Fetch_Site="same-site") == 403
    assert await send(Origin=f"https://{door[7:]}") == 403
    assert await send(Origin=f"{door}0") == 403
    assert await send(Origin="http://127.0.0.1") == 403
    assert await send(Sec_Fetch_Site="same-origin", Origin="http://evil.org") == 403
    assert await send(Origin=door) == 200
    assert await send(Sec_Fetch_Site="same-origin") == 200
    assert await send(Sec_Fetch_Site="none") == 200
    assert await send(**CLIENT) == 200


@pytest.mark.parametrize(("media_type", "expected"), [
    ("application/json", 200),
    ("application/json; charset=utf-8", 200),
    ("APPLICATION/JSON", 200),
    ("text/plain", 415),
    ("text/plain; application/json", 415),
    ("text/plain; x=application/json", 415),
    ("application/jsonx", 415),
    ("application/x-www-form-urlencoded", 415),
    ("multipart/form-data; boundary=x", 415),
    ("", 415),
])  # fmt: skip
async def test_the_media_type_is_parsed_and_not_searched(door: str, media_type: str, expected: int) -> None:
    assert await status(door, "POST", body=b"{}", Origin=door, Content_Type=media_type) == expected


async def test_a_missing_media_type_is_refused_and_an_upload_needs_the_client_header(door: str) -> None:
    assert await status(door, "POST", body=b"{}", **CLIENT) == 415
    assert await status(door, "POST", **CLIENT) == 415
    form = {"Content_Type": "multipart/form-data; boundary=x"}
    assert await status(door, "POST", body=b"--x--", **(form | CLIENT)) == 200


async def test_event_streams_and_sockets_check_the_origin_too(door: str) -> None:
    assert await status(f"{door}/events") == 403
    assert await status(f"{door}/events", Origin="http://evil.org") == 403
    assert await status(f"{door}/events", Sec_Fetch_Site="cross-site") == 403
    assert await status(f"{door}/events", Sec_Fetch_Site="same-origin") == 200
    assert await status(f"{door}/events", **CLIENT) == 200
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Origin": "http://evil.org"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(f"{door}/ws", headers=headers)
            assert caught.value.status == 403
        async with http.ws_connect(f"{door}/ws", headers={"Origin": door}) as connection:
            assert (await connection.receive()).type == aiohttp.WSMsgType.CLOSE


async def test_a_path_with_a_secret_of_its_own_needs_no_header_but_no_foreign_page_either(door: str) -> None:
    assert await status(f"{door}/api/chat.postMessage", "POST", body=b"x") == 200
    assert await status(f"{door}/api/chat.postMessage", "POST", body=b"x", Origin="http://evil.org") == 403


async def test_the_simulator_stands_behind_the_guard(slack_world: World) -> None:
    url = slack_world.url
    assert await status(f"{url}/sim/workspace") == 200
    assert await status(f"{url}/sim/workspace", Host="evil.org") == 403
    assert await status(f"{url}/sim/message", "POST", body=b"{}", **JSON) == 403
    assert await status(f"{url}/sim/message", "POST", body=b"{}", Content_Type="text/plain", **CLIENT) == 415
    assert await status(f"{url}/sim/events", Origin="http://evil.org") == 403
    assert await status(f"{url}/api/auth.test", "POST") == 200
    assert await status(f"{url}/slack/events", "POST", body=b"{}", **JSON) == 404
    assert await status(f"{url}/api/auth.test", "POST", X_Forwarded_For="1.2.3.4") == 403
    assert await status(f"{url}/sim/message", "OPTIONS", Origin="http://evil.org") == 405
