"""The Web API answers and refuses as Slack does, to JSON and to forms."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from services.local.slack.api import METHODS
from tests.slack_simulator.conftest import World


async def refused(slack: AsyncWebClient, method: str, **arguments: Any) -> str:
    form_only = method in METHODS and METHODS[method].form_only
    with pytest.raises(SlackApiError) as caught:
        await slack.api_call(method, **{"params" if form_only else "json": arguments})
    return str(caught.value.response["error"])


UNKNOWN_TS = "1712345678.000001"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"channel": "C9", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C1"}, "no_text"),
        ("chat.postMessage", {"text": "x"}, "invalid_arguments"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "thread_ts": UNKNOWN_TS}, "thread_not_found"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "markdown_text": "x"}, "markdown_text_conflict"),
        ("chat.postEphemeral", {"channel": "D1", "user": "U2", "text": "x"}, "user_not_in_channel"),
        ("chat.postEphemeral", {"channel": "C1", "user": "U9", "text": "x"}, "user_not_found"),
        ("chat.update", {"channel": "C1", "ts": UNKNOWN_TS, "text": "x"}, "message_not_found"),
        ("chat.delete", {"channel": "C1", "ts": UNKNOWN_TS}, "message_not_found"),
        ("conversations.replies", {"channel": "C1", "ts": UNKNOWN_TS}, "thread_not_found"),
        ("conversations.replies", {"channel": "C9", "ts": UNKNOWN_TS}, "channel_not_found"),
        ("conversations.history", {"channel": "C1", "cursor": "zzz"}, "invalid_cursor"),
        ("conversations.history", {"channel": "C1", "oldest": "soon"}, "invalid_ts_oldest"),
        ("conversations.history", {"channel": "C1", "latest": "NaN"}, "invalid_ts_latest"),
        ("conversations.info", {"channel": "C9"}, "channel_not_found"),
        ("conversations.open", {"users": "U9"}, "user_not_found"),
        ("users.info", {"user": "U9"}, "user_not_found"),
        ("reactions.add", {"channel": "C1", "timestamp": UNKNOWN_TS, "name": "eyes"}, "message_not_found"),
        ("reactions.add", {"channel": "C1", "timestamp": UNKNOWN_TS, "name": "not a name"}, "invalid_name"),
        ("files.info", {"file": "F9"}, "file_not_found"),
        ("views.open", {"trigger_id": "old", "view": {"type": "modal", "blocks": []}}, "expired_trigger_id"),
        ("agents.sessions.setStatus", {"channel_id": "C1", "thread_ts": UNKNOWN_TS, "status": "active"}, "thread_not_found"),
        ("agents.sessions.setStatus", {"channel_id": "C1", "thread_ts": UNKNOWN_TS, "status": "thinking"}, "invalid_arguments"),
        ("chat.scheduleMessage", {"channel": "C1"}, "unknown_method"),
    ],
)  # fmt: skip
async def test_a_wrong_call_gets_slacks_own_code(
    slack_world: World, method: str, arguments: dict[str, Any], error: str
) -> None:
    assert await refused(slack_world.slack, method, **arguments) == error


async def test_only_the_right_token_opens_a_method(slack_world: World) -> None:
    base = f"{slack_world.url}/api/"
    for token, method, error in (
        ("", "auth.test", "not_authed"),
        ("xoxb-somebody-elses", "auth.test", "invalid_auth"),
        (slack_world.simulator.app_token, "auth.test", "not_allowed_token_type"),
        (slack_world.simulator.bot_token, "apps.connections.open", "not_allowed_token_type"),
    ):
        slack = AsyncWebClient(token=token, base_url=base, session=slack_world.http)
        assert await refused(slack, method) == error


async def test_who_am_i(slack_world: World) -> None:
    me = await slack_world.slack.auth_test()
    assert (me["team_id"], me["user_id"], me["bot_id"]) == ("T1", "UBOT", "B1")
    assert (await slack_world.slack.team_info())["team"]["id"] == "T1"


async def test_a_form_with_json_inside_is_as_good_as_json(slack_world: World) -> None:
    block = '[{"type":"section","text":{"type":"mrkdwn","text":"hi"}}]'
    for place in ("data", "params"):
        posted = await slack_world.slack.api_call(
            "chat.postMessage", **{place: {"channel": "C1", "text": "hi", "blocks": block}}
        )
        assert posted["message"]["blocks"][0]["text"]["text"] == "hi"


async def test_broken_json_is_told(slack_world: World) -> None:
    headers = {
        "Authorization": f"Bearer {slack_world.simulator.bot_token}",
        "Content-Type": "application/json",
    }
    for body, error in ((b"{", "invalid_json"), (b"[]", "json_not_object")):
        async with slack_world.http.post(
            f"{slack_world.url}/api/auth.test", data=body, headers=headers
        ) as response:
            assert (await response.json())["error"] == error


async def test_the_same_reaction_twice_and_none_at_all(slack_world: World) -> None:
    ts = await slack_world.say("x")
    arguments = {"channel": "C1", "timestamp": ts, "name": "eyes"}
    await slack_world.slack.reactions_add(**arguments)
    assert await refused(slack_world.slack, "reactions.add", **arguments) == "already_reacted"
    await slack_world.slack.reactions_remove(**arguments)
    assert await refused(slack_world.slack, "reactions.remove", **arguments) == "no_reaction"


async def test_the_app_changes_only_its_own(slack_world: World) -> None:
    ts = await slack_world.say("mine")
    assert (
        await refused(slack_world.slack, "chat.update", channel="C1", ts=ts, text="x")
        == "cant_update_message"
    )
    assert await refused(slack_world.slack, "chat.delete", channel="C1", ts=ts) == "cant_delete_message"


async def test_an_update_replaces_and_keeps_the_metadata(slack_world: World) -> None:
    metadata = {"event_type": "turn", "event_payload": {"n": 1}}
    posted = await slack_world.slack.chat_postMessage(channel="C1", text="one", metadata=metadata)
    await slack_world.slack.chat_update(channel="C1", ts=posted["ts"], text="two")
    [message] = (await slack_world.thread(posted["ts"]))["messages"]
    assert (message["text"], message["metadata"]) == ("two", metadata)
    assert float(message["edited"]["ts"]) > float(posted["ts"])
    await slack_world.slack.chat_delete(channel="C1", ts=posted["ts"])
    assert (await slack_world.look("channel", channel="C1"))["messages"] == []


async def test_metadata_is_returned_where_it_is_asked_for(slack_world: World) -> None:
    root = await slack_world.say("x")
    metadata = {"event_type": "turn", "event_payload": {"n": 1}}
    await slack_world.slack.chat_postMessage(channel="C1", thread_ts=root, text="y", metadata=metadata)
    plain = await slack_world.slack.conversations_replies(channel="C1", ts=root)
    full = await slack_world.slack.conversations_replies(channel="C1", ts=root, include_all_metadata=True)
    assert "metadata" not in plain["messages"][1]
    assert full["messages"][1]["metadata"] == metadata


async def test_replies_come_in_pages(slack_world: World) -> None:
    root = await slack_world.say("0")
    for number in range(1, 5):
        await slack_world.say(str(number), thread_ts=root)
    texts: list[str] = []
    cursor = ""
    while True:
        page = await slack_world.slack.conversations_replies(channel="C1", ts=root, limit=2, cursor=cursor)
        texts += [one["text"] for one in page["messages"]]
        cursor = page["response_metadata"]["next_cursor"]
        if not page["has_more"]:
            break
    assert texts == ["0", "1", "2", "3", "4"]


async def test_the_root_comes_first_whatever_the_moments(slack_world: World) -> None:
    root = await slack_world.say("root")
    old, new = [await slack_world.say(text, thread_ts=root) for text in ("old", "new")]
    page = await slack_world.slack.conversations_replies(channel="C1", ts=root, oldest=old)
    assert [one["ts"] for one in page["messages"]] == [root, new]


async def test_a_method_that_only_reads_takes_no_notice_of_json(slack_world: World) -> None:
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await slack_world.slack.api_call("users.info", json={"user": "U1"})
    assert (await slack_world.slack.api_call("users.info", http_verb="GET", params={"user": "U1"}))["ok"]


async def test_history_is_newest_first_and_bounded_by_moments(slack_world: World) -> None:
    first, second, third = [await slack_world.say(text) for text in "abc"]
    whole = await slack_world.slack.conversations_history(channel="C1")
    assert [one["ts"] for one in whole["messages"]] == [third, second, first]
    between = await slack_world.slack.conversations_history(channel="C1", oldest=first, latest=third)
    assert [one["ts"] for one in between["messages"]] == [second]
    with_ends = await slack_world.slack.conversations_history(channel="C1", oldest=second, inclusive=True)
    assert [one["ts"] for one in with_ends["messages"]] == [third, second]


async def test_a_reply_asked_for_by_itself_comes_alone(slack_world: World) -> None:
    root = await slack_world.say("root")
    reply = await slack_world.say("reply", thread_ts=root)
    alone = await slack_world.slack.conversations_replies(channel="C1", ts=reply)
    assert [one["ts"] for one in alone["messages"]] == [reply]


async def test_places_and_people(slack_world: World) -> None:
    slack = slack_world.slack
    assert (await slack.conversations_info(channel="C1"))["channel"]["name"] == "general"
    assert (await slack.conversations_info(channel="D1"))["channel"]["is_im"] is True
    assert set((await slack.conversations_members(channel="C2"))["members"]) == {"U1", "U2", "UBOT"}
    assert (await slack.users_info(user="U2"))["user"]["real_name"] == "Grace Hopper"
    assert (await slack.conversations_open(users="U1"))["channel"]["id"] == "D1"
    opened = (await slack.conversations_open(users="U2"))["channel"]["id"]
    assert (await slack.chat_postMessage(channel="U2", text="hi"))["channel"] == opened
    assert UNKNOWN_TS not in (await slack.chat_getPermalink(channel=opened, message_ts=(await latest(slack, opened))))["permalink"]  # fmt: skip


async def latest(slack: AsyncWebClient, channel: str) -> str:
    return (await slack.conversations_history(channel=channel, limit=1))["messages"][0]["ts"]


async def test_the_assistants_status_ends_with_the_next_message(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill go")
    await slack_world.slack.assistant_threads_setStatus(
        channel_id="C1", thread_ts=ts, status="is thinking..."
    )
    assert (await slack_world.thread(ts))["status"] == "is thinking..."
    await slack_world.slack.chat_postMessage(channel="C1", thread_ts=ts, text="there")
    assert (await slack_world.thread(ts))["status"] is None


async def test_the_session_has_a_status_and_a_title(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill go")
    place = {"channel_id": "C1", "thread_ts": ts}
    await slack_world.slack.agents_sessions_setStatus(**place, status="processing", title="First")
    await slack_world.slack.agents_sessions_setStatus(**place, status="suspended", title="Ignored")
    seen = await slack_world.thread(ts)
    assert (seen["session_status"], seen["session_title"]) == ("suspended", "First")
    await slack_world.slack.agents_sessions_rename(**place, title="Second")
    assert (await slack_world.thread(ts))["session_title"] == "Second"


async def test_every_call_is_written_down_without_its_token(slack_world: World) -> None:
    await slack_world.slack.chat_postMessage(channel="C1", text="x")
    await refused(slack_world.slack, "users.info", user="U9")
    await slack_world.slack.api_call("auth.test", data={"token": slack_world.simulator.bot_token})
    calls = (await slack_world.look("calls"))["calls"]
    assert [(one["method"], one.get("error")) for one in calls] == [
        ("chat.postMessage", None),
        ("users.info", "user_not_found"),
        ("auth.test", None),
    ]
    assert calls[0]["args"]["text"] == "x"
    assert slack_world.simulator.bot_token not in str(calls)
