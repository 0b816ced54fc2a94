"""Slack's own Socket Mode client connects, receives, acknowledges, and loses nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack_simulator.conftest import DEADLINE, World


class App:
    """An app on a socket; it acknowledges what `takes` allows."""

    def __init__(self) -> None:
        self.received: list[SocketModeRequest] = []
        self.takes: Callable[[SocketModeRequest], bool] = lambda _: True
        self.payload: dict[str, Any] | None = None
        self._news = asyncio.Condition()

    async def listen(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if self.takes(request):
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, self.payload))
        async with self._news:
            self.received.append(request)
            self._news.notify_all()

    async def until(self, count: int) -> list[SocketModeRequest]:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)
        return self.received


@asynccontextmanager
async def connected(here: World, app: App) -> AsyncIterator[SocketModeClient]:
    web_client = AsyncWebClient(base_url=f"{here.url}/api/", session=here.http)
    client = SocketModeClient(app_token=here.simulator.app_token, web_client=web_client, ping_interval=0.5)
    client.socket_mode_request_listeners.append(app.listen)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()
        await client.aiohttp_client_session.close()


async def test_an_open_socket_gets_the_events_and_http_none(slack_world: World) -> None:
    app = App()
    async with connected(slack_world, app):
        await slack_world.say("@threadmill hello")
        mention, message = await app.until(2)
        assert (mention.type, mention.payload["event"]["type"]) == ("events_api", "app_mention")
        assert message.payload["event"]["type"] == "message"
        assert (message.retry_attempt, message.retry_reason) == (0, "")
    assert slack_world.listener.received == []


async def test_without_a_socket_it_is_http_again(slack_world: World) -> None:
    app = App()
    async with connected(slack_world, app):
        await slack_world.say("one")
        await app.until(1)
    await slack_world.say("two")
    [event] = await slack_world.listener.events(1)
    assert event["text"] == "two"


async def test_two_sockets_share_the_events(slack_world: World) -> None:
    first, second = App(), App()
    async with connected(slack_world, first), connected(slack_world, second):
        for number in range(6):
            await slack_world.say(str(number))
        await first.until(3)
        await second.until(3)
    texts = [one.payload["event"]["text"] for one in (*first.received, *second.received)]
    assert sorted(texts) == ["0", "1", "2", "3", "4", "5"]


async def test_what_is_not_acknowledged_comes_again(slack_world: World) -> None:
    await slack_world.sim("fault", deliver="drop_ack", times=1)
    app = App()
    async with connected(slack_world, app):
        await slack_world.say("hello")
        first, second = await app.until(2)
    assert second.retry_attempt == 1
    assert first.payload["event_id"] == second.payload["event_id"]


async def test_a_disconnect_in_the_middle_loses_nothing(slack_world: World) -> None:
    app = App()
    slack_world.simulator.deliver_to(None)
    async with connected(slack_world, app):
        await slack_world.sim("fault", deliver="disconnect", times=1)
        await slack_world.say("hello")
        events = await app.until(2)
        assert events[-1].retry_attempt >= 1
        assert {one.payload["event"]["text"] for one in events} == {"hello"}
        assert len({one.payload["event_id"] for one in events}) == 1


async def test_duplicates_come_over_every_transport_at_once(slack_world: World) -> None:
    first, second = App(), App()
    async with connected(slack_world, first), connected(slack_world, second):
        await slack_world.sim("fault", deliver="duplicate", times=9)
        await slack_world.say("hello")
        await first.until(3)
        await second.until(3)
        await slack_world.listener.until(lambda received: len(received) >= 3)
    ids = {one.payload["event_id"] for one in (*first.received, *second.received)}
    assert ids | {one.payload["event_id"] for one in slack_world.listener.received} == ids
    assert len(ids) == 1
    assert len(slack_world.listener.received) == 3


async def test_a_press_comes_over_the_socket(slack_world: World) -> None:
    button = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "go"}}
    app = App()
    async with connected(slack_world, app):
        posted = await slack_world.slack.chat_postMessage(
            channel="C1", text="x", blocks=[{"type": "actions", "elements": [button]}]
        )
        await app.until(1)
        await slack_world.sim("action", user="U1", channel="C1", message_ts=posted["ts"], action_id="a")
        *_, press = await app.until(2)
    assert (press.type, press.payload["type"]) == ("interactive", "block_actions")


async def test_an_address_opens_one_socket_once(slack_world: World) -> None:
    app_client = AsyncWebClient(
        token=slack_world.simulator.app_token, base_url=f"{slack_world.url}/api/", session=slack_world.http
    )
    url = (await app_client.apps_connections_open(app_token=slack_world.simulator.app_token))["url"]
    async with slack_world.http.ws_connect(url) as socket:
        assert (await socket.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await slack_world.http.ws_connect(url)


async def test_an_eleventh_socket_is_sent_away(slack_world: World) -> None:
    token = slack_world.simulator.app_token
    slack = AsyncWebClient(token=token, base_url=f"{slack_world.url}/api/", session=slack_world.http)
    until = slack_world.simulator.workspace.clock.now() + 60
    tickets = slack_world.simulator._tickets
    urls = [
        f"{slack_world.url}/socket/?ticket={tickets.issue('socket', 'A1', until=until)}" for _ in range(10)
    ]
    sockets = [await slack_world.http.ws_connect(url) for url in urls]
    assert [(await socket.receive_json())["num_connections"] for socket in sockets] == list(range(1, 11))
    url = (await slack.apps_connections_open(app_token=token))["url"]
    async with slack_world.http.ws_connect(url) as late:
        assert (await late.receive_json())["reason"] == "too_many_websockets"
    for socket in sockets:
        await socket.close()
