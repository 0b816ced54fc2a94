"""The simulator's own endpoints: what they show, and how they refuse a body that does not fit."""

import asyncio
import json
from typing import Any

import pytest

from services.local.slack.app import Simulator
from services.local.slack.watch import MOST_PENDING, _Watcher
from tests.slack_simulator.conftest import CLIENT, DEADLINE, World, world

MESSAGE = {"user": "U1", "channel": "C1", "text": "x"}


@pytest.mark.parametrize(
    ("door", "body", "named"),
    [
        ("message", {"user": "U1", "channel": "C1"}, "text"),
        ("message", MESSAGE | {"text": 5}, "text"),
        ("message", MESSAGE | {"surprise": 1}, "surprise"),
        ("message", MESSAGE | {"text": "x" * 40_001}, "text"),
        ("message", MESSAGE | {"files": [{"name": "a", "content": "%%%"}]}, "base64"),
        ("message", MESSAGE | {"files": [{"name": "a", "content": ""}]}, "'a'"),
        ("message", MESSAGE | {"files": [{"name": "a", "content": "YQ=="}] * 11}, "files"),
        ("message", MESSAGE | {"files": [{"name": "a", "content": "YQ==", "media_type": "a\r\nb"}]}, "media_type"),
        ("action", {"user": "U1", "channel": "C1", "message_ts": "1"}, "action_id"),
        ("reaction", {"user": "U1", "channel": "C1", "ts": "1"}, "name"),
        ("stop", {"user": "U1", "channel": "C1", "thread_ts": None}, "thread_ts"),
        ("fault", {"method": "chat.*", "times": 0, "status": 500}, "times"),
        ("fault", {"method": "chat.*"}, "lose_reply"),
        ("fault", {"deliver": "explode"}, "deliver"),
        ("fault", {}, "method"),
    ],
)  # fmt: skip
async def test_a_body_that_does_not_fit_is_refused_by_the_name_of_the_field(
    slack_world: World, door: str, body: dict[str, Any], named: str
) -> None:
    answer = await slack_world.sim(door, **body)
    assert (answer["http"], answer["ok"]) == (400, False)
    assert named in answer["error"]


async def test_broken_bodies_and_missing_queries_are_refused_too(slack_world: World) -> None:
    for body in (b"", b"{", b"[]", b"\xff", b'"x"'):
        async with slack_world.http.post(
            f"{slack_world.url}/sim/message", data=body, headers=CLIENT | {"Content-Type": "application/json"}
        ) as response:
            assert (response.status, (await response.json())["ok"]) == (400, False)
    async with slack_world.http.post(
        f"{slack_world.url}/sim/fault",
        data=b'{"user":' * 50_000,
        headers=CLIENT | {"Content-Type": "application/json"},
    ) as response:
        assert (response.status, (await response.json())["ok"]) == (400, False)
    assert (await slack_world.look("thread", channel="C1"))["error"] == "Give ts in the address."
    assert (await slack_world.look("channel", channel="C9"))["http"] == 404


async def test_the_workspace_tells_who_and_where_and_which_agent() -> None:
    async def session(channel: str, ts: str) -> dict[str, Any]:
        return {"key": f"{channel}/{ts}"}

    simulator = Simulator(describe_agent=lambda: {"name": "recorded"}, session_info=session)
    async with world(simulator) as here:
        seen = await here.look("workspace")
        assert [one["id"] for one in seen["users"]] == ["U1", "U2"]
        assert {one["id"]: one["is_im"] for one in seen["channels"]} == {
            "C1": False,
            "C2": False,
            "D1": True,
            "D2": True,
        }
        assert (seen["bot"]["id"], seen["agent"]) == ("UBOT", {"name": "recorded"})
        ts = await here.say("x")
        thread = await here.thread(ts)
        assert thread["session"] == {"key": f"C1/{ts}"}
        assert (thread["status"], thread["session_status"]) == (None, None)


async def test_a_page_hears_of_every_thread_that_changes_once(slack_world: World) -> None:
    async with slack_world.http.get(f"{slack_world.url}/sim/events", headers=CLIENT) as stream:
        assert await stream.content.readline() == b": open\n"
        ts = await slack_world.say("@threadmill go")
        await slack_world.slack.reactions_add(channel="C1", timestamp=ts, name="eyes")
        await slack_world.slack.agents_sessions_setStatus(channel_id="C1", thread_ts=ts, status="processing")
        other = await slack_world.say("elsewhere", channel="C2")
        heard = set()
        async with asyncio.timeout(DEADLINE):
            while ("C2", other) not in heard:
                line = await stream.content.readline()
                if line.startswith(b"data: "):
                    change = json.loads(line[6:])
                    heard.add((change["channel"], change["ts"]))
        assert heard == {("C1", ts), ("C2", other)}


async def test_changes_that_nobody_read_yet_are_told_once(slack_world: World) -> None:
    watchers = slack_world.simulator._watchers
    async with slack_world.http.get(f"{slack_world.url}/sim/events", headers=CLIENT) as stream:
        await stream.content.readline()
        await stream.content.readline()
        for _ in range(500):
            watchers.changed("C1", "1.000001")
        watchers.changed("C2", "2.000002")
        lines = [await asyncio.wait_for(stream.content.readline(), DEADLINE) for _ in range(6)]
    assert [line for line in lines if line.startswith(b"data")] == [
        b'data: {"channel":"C1","ts":"1.000001"}\n',
        b'data: {"channel":"C2","ts":"2.000002"}\n',
    ]


async def test_a_page_that_does_not_read_costs_no_more_than_its_bound() -> None:
    watcher = _Watcher()
    for number in range(MOST_PENDING + 5):
        watcher.note("C1", f"{number}.000000")
    lines = (await watcher.next_lines()).decode()
    assert lines.count("event: change") == MOST_PENDING
    assert f'"ts":"{MOST_PENDING + 4}.000000"' in lines


async def test_stopping_ends_open_streams_and_leaves_no_task() -> None:
    async with world(Simulator()) as here:
        stream = await here.http.get(f"{here.url}/sim/events", headers=CLIENT)
        socket_url = await here.slack.api_call(
            "apps.connections.open", headers={"Authorization": f"Bearer {here.simulator.app_token}"}
        )
        socket = await here.http.ws_connect(socket_url["url"])
        here.simulator.deliver_to("http://127.0.0.1:9")
        await here.say("nobody takes this")
        await here.simulator.stop()
        async with asyncio.timeout(DEADLINE):
            await stream.read()
            while not socket.closed:
                await socket.receive()
        assert not here.simulator._delivery._tasks
        assert not here.simulator._sockets.open


QUESTION = {
    "type": "modal",
    "callback_id": "answer",
    "title": {"type": "plain_text", "text": "A question"},
    "blocks": [
        {
            "type": "input",
            "block_id": "why",
            "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "text"},
        },
        {
            "type": "input",
            "block_id": "which",
            "label": {"type": "plain_text", "text": "Which?"},
            "element": {
                "type": "static_select",
                "action_id": "choice",
                "options": [{"text": {"type": "plain_text", "text": name}, "value": name} for name in "ab"],
            },
        },
    ],
}


async def pressed(here: World) -> dict[str, Any]:
    button = {"type": "button", "action_id": "ask", "text": {"type": "plain_text", "text": "Answer"}}
    posted = await here.slack.chat_postMessage(
        channel="C1", text="?", blocks=[{"type": "actions", "elements": [button]}]
    )
    await here.sim("action", user="U1", channel="C1", message_ts=posted["ts"], action_id="ask")
    received = await here.listener.until(lambda all_: any(one.path == "/slack/interactive" for one in all_))
    return next(one.payload for one in received if one.path == "/slack/interactive")


async def test_a_modal_is_opened_filled_in_and_sent_off(slack_world: World) -> None:
    trigger = (await pressed(slack_world))["trigger_id"]
    view = (await slack_world.slack.views_open(trigger_id=trigger, view=QUESTION))["view"]
    assert [one["id"] for one in (await slack_world.look("views", user="U1"))["views"]] == [view["id"]]
    assert (await slack_world.look("views", user="U2"))["views"] == []

    entries = {"why": {"text": "because"}, "which": {"choice": "b"}}
    slack_world.listener.reply = {"response_action": "errors", "errors": {"why": "Say more."}}
    refused = await slack_world.sim("view", user="U1", view_id=view["id"], values=entries)
    assert (refused["closed"], refused["errors"]) == (False, {"why": "Say more."})

    slack_world.listener.reply = {}
    assert (await slack_world.sim("view", user="U1", view_id=view["id"], values=entries))["closed"] is True
    submission = slack_world.listener.received[-1].payload
    values = submission["view"]["state"]["values"]
    assert (submission["type"], submission["view"]["callback_id"]) == ("view_submission", "answer")
    assert values["why"]["text"] == {"type": "plain_text_input", "value": "because"}
    assert values["which"]["choice"]["selected_option"]["value"] == "b"
    assert (await slack_world.look("views", user="U1"))["views"] == []


async def test_a_trigger_opens_one_view(slack_world: World) -> None:
    trigger = (await pressed(slack_world))["trigger_id"]
    await slack_world.slack.views_open(trigger_id=trigger, view=QUESTION)
    again = await slack_world.slack.api_call("auth.test")
    assert again["ok"]
    headers = {"Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    async with slack_world.http.post(
        f"{slack_world.url}/api/views.open", json={"trigger_id": trigger, "view": QUESTION}, headers=headers
    ) as response:
        assert (await response.json())["error"] == "expired_trigger_id"
