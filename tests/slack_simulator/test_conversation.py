"""A person and an app talk: what is said reaches the app, what the app answers is seen in the thread."""

import base64

import pytest

from tests.slack_simulator.conftest import World


async def test_a_mention_arrives_as_a_pair_and_the_answer_stands_in_the_thread(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill fix the build")

    mention, message = await slack_world.listener.events(2)
    assert (mention["type"], message["type"]) == ("app_mention", "message")
    assert mention["ts"] == message["ts"] == ts
    assert mention["text"] == message["text"] == "<@UBOT> fix the build"
    assert message["channel_type"] == "channel"
    assert "channel_type" not in mention

    posted = await slack_world.slack.chat_postMessage(
        channel="C1",
        thread_ts=ts,
        text="On it.",
        metadata={"event_type": "session", "event_payload": {"turn": 1}},
    )
    seen = await slack_world.thread(ts)
    assert [one["text"] for one in seen["messages"]] == ["<@UBOT> fix the build", "On it."]
    assert seen["messages"][0]["reply_count"] == 1
    assert seen["messages"][1]["metadata"]["event_payload"] == {"turn": 1}
    assert posted["ts"] > ts


async def test_the_event_stands_in_slacks_envelope(slack_world: World) -> None:
    await slack_world.say("hello")
    [delivered] = await slack_world.listener.until(lambda received: len(received) >= 1)
    envelope = delivered.payload
    assert (envelope["type"], envelope["team_id"], envelope["api_app_id"]) == ("event_callback", "T1", "A1")
    assert envelope["authorizations"][0]["user_id"] == "UBOT"
    assert envelope["event_id"].startswith("Ev")
    assert "X-Slack-Retry-Num" not in delivered.headers


async def test_in_a_direct_message_there_is_one_event(slack_world: World) -> None:
    await slack_world.say("@threadmill hello", channel="D1")
    ts = await slack_world.say("second", channel="D1")
    first, second = await slack_world.listener.events(2)
    assert (first["type"], first["channel_type"]) == ("message", "im")
    assert second["ts"] == ts


async def test_a_reply_names_its_thread(slack_world: World) -> None:
    root = await slack_world.say("a question")
    await slack_world.say("more", user="U2", thread_ts=root)
    _, reply = await slack_world.listener.events(2)
    assert (reply["thread_ts"], reply["parent_user_id"], reply["user"]) == (root, "U1", "U2")


async def test_what_the_app_says_comes_back_to_it_as_an_event(slack_world: World) -> None:
    posted = await slack_world.slack.chat_postMessage(channel="C1", text="hello")
    [echo] = await slack_world.listener.events(1)
    assert (echo["ts"], echo["bot_id"], echo["user"]) == (posted["ts"], "B1", "UBOT")


async def test_an_edit_and_a_deletion_tell_before_and_after(slack_world: World) -> None:
    ts = await slack_world.say("first")
    await slack_world.sim("edit", user="U1", channel="C1", ts=ts, text="second")
    await slack_world.sim("delete", user="U1", channel="C1", ts=ts)
    _, changed, gone = await slack_world.listener.events(3)
    assert changed["subtype"] == "message_changed"
    assert (changed["previous_message"]["text"], changed["message"]["text"]) == ("first", "second")
    assert changed["message"]["edited"]["user"] == "U1"
    assert (gone["subtype"], gone["deleted_ts"]) == ("message_deleted", ts)
    assert (await slack_world.thread(ts))["error"] == "thread_not_found"


async def test_a_deleted_root_leaves_a_tombstone_over_its_replies(slack_world: World) -> None:
    root = await slack_world.say("root")
    await slack_world.say("reply", thread_ts=root)
    await slack_world.sim("delete", user="U1", channel="C1", ts=root)
    first, reply = (await slack_world.thread(root))["messages"]
    assert (first["subtype"], reply["text"]) == ("tombstone", "reply")


async def test_nobody_changes_what_another_wrote(slack_world: World) -> None:
    ts = await slack_world.say("mine")
    edit = await slack_world.sim("edit", user="U2", channel="C1", ts=ts, text="yours")
    delete = await slack_world.sim("delete", user="U2", channel="C1", ts=ts)
    assert (edit["error"], delete["error"]) == ("cant_update_message", "cant_delete_message")


async def test_a_reaction_comes_and_goes(slack_world: World) -> None:
    ts = await slack_world.say("look")
    for remove in (False, True):
        await slack_world.sim(
            "reaction", user="U2", channel="C1", ts=ts, name="octagonal_sign", remove=remove
        )
    _, added, removed = await slack_world.listener.events(3)
    assert (added["type"], added["reaction"], added["item"]["ts"]) == ("reaction_added", "octagonal_sign", ts)
    assert (removed["type"], added["item_user"]) == ("reaction_removed", "U1")


async def test_the_app_reacts_and_people_see_it(slack_world: World) -> None:
    ts = await slack_world.say("look")
    await slack_world.slack.reactions_add(channel="C1", timestamp=ts, name="eyes")
    assert (await slack_world.thread(ts))["messages"][0]["reactions"] == [
        {"name": "eyes", "users": ["UBOT"], "count": 1}
    ]
    got = await slack_world.slack.reactions_get(channel="C1", timestamp=ts)
    assert got["message"]["reactions"][0]["name"] == "eyes"
    await slack_world.slack.reactions_remove(channel="C1", timestamp=ts, name="eyes")
    assert "reactions" not in (await slack_world.thread(ts))["messages"][0]


async def test_a_press_reaches_the_app_with_the_whole_message(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill may you?")
    button = {
        "type": "button",
        "action_id": "allow",
        "text": {"type": "plain_text", "text": "Allow"},
        "value": "once",
    }
    asked = await slack_world.slack.chat_postMessage(
        channel="C1", thread_ts=ts, text="May I?", blocks=[{"type": "actions", "elements": [button]}]
    )
    answer = await slack_world.sim(
        "action", user="U2", channel="C1", message_ts=asked["ts"], action_id="allow"
    )
    assert answer["ok"]

    received = await slack_world.listener.until(
        lambda all_: any(one.path == "/slack/interactive" for one in all_)
    )
    payload = next(one.payload for one in received if one.path == "/slack/interactive")
    assert (payload["type"], payload["user"]["id"]) == ("block_actions", "U2")
    assert payload["container"] == {
        "type": "message",
        "message_ts": asked["ts"],
        "channel_id": "C1",
        "is_ephemeral": False,
        "thread_ts": ts,
    }
    [action] = payload["actions"]
    assert (action["action_id"], action["value"], action["type"]) == ("allow", "once", "button")
    assert action["block_id"] == payload["message"]["blocks"][0]["block_id"]
    assert float(action["action_ts"]) > float(asked["ts"])

    async with slack_world.http.post(
        payload["response_url"], json={"replace_original": True, "text": "Allowed by Grace."}
    ) as response:
        assert response.status == 200
    assert (await slack_world.thread(ts))["messages"][1]["text"] == "Allowed by Grace."


async def test_a_button_that_is_not_there_cannot_be_pressed(slack_world: World) -> None:
    ts = await slack_world.say("plain")
    answer = await slack_world.sim("action", user="U1", channel="C1", message_ts=ts, action_id="x")
    assert (answer["http"], answer["error"]) == (404, "action_not_found")


async def test_an_ephemeral_message_is_seen_by_one_and_no_part_of_history(slack_world: World) -> None:
    ts = await slack_world.say("root")
    await slack_world.slack.chat_postEphemeral(channel="C1", user="U2", thread_ts=ts, text="only you")
    shown = (await slack_world.thread(ts))["messages"][1]
    assert (shown["is_ephemeral"], shown["user_id"]) == (True, "U2")
    replies = await slack_world.slack.conversations_replies(channel="C1", ts=ts)
    assert [one["text"] for one in replies["messages"]] == ["root"]


async def test_only_who_sees_an_ephemeral_message_presses_its_button(slack_world: World) -> None:
    button = {"type": "button", "action_id": "retry", "text": {"type": "plain_text", "text": "Retry"}}
    shown = await slack_world.slack.chat_postEphemeral(
        channel="C1", user="U2", text="?", blocks=[{"type": "actions", "elements": [button]}]
    )
    press = {"channel": "C1", "message_ts": shown["message_ts"], "action_id": "retry"}
    assert (await slack_world.sim("action", user="U1", **press))["error"] == "message_not_found"
    assert (await slack_world.sim("action", user="U2", **press))["ok"]
    [delivered] = await slack_world.listener.until(lambda received: len(received) >= 1)
    assert delivered.payload["container"]["is_ephemeral"] is True
    assert "message" not in delivered.payload


async def test_stop_ends_the_streams_and_leaves_the_status_to_the_app(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill work")
    await slack_world.slack.agents_sessions_setStatus(channel_id="C1", thread_ts=ts, status="processing")
    stream = await slack_world.slack.chat_startStream(
        channel="C1", thread_ts=ts, recipient_user_id="U1", recipient_team_id="T1", markdown_text="so far"
    )
    await slack_world.sim("stop", user="U1", channel="C1", thread_ts=ts)
    [event] = await slack_world.listener.events(1, "agent_session_stopped")
    assert event == {
        "type": "agent_session_stopped",
        "channel": "C1",
        "thread_ts": ts,
        "user": "U1",
        "streaming_message_ts": [stream["ts"]],
        "event_ts": event["event_ts"],
    }
    seen = await slack_world.thread(ts)
    assert seen["session_status"] == "processing"
    assert seen["messages"][1]["streaming_state"] == "completed"


async def test_a_channel_shows_its_threads(slack_world: World) -> None:
    root = await slack_world.say("root")
    reply = await slack_world.say("reply", thread_ts=root)
    [message] = (await slack_world.look("channel", channel="C1"))["messages"]
    assert (message["ts"], message["reply_count"], message["latest_reply"]) == (root, 1, reply)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"user": "U9"}, "user_not_found"),
        ({"channel": "C9"}, "channel_not_found"),
        ({"thread_ts": "1.000001"}, "thread_not_found"),
        ({"user": "U2", "channel": "D1"}, "not_in_channel"),
        ({"text": ""}, "no_text"),
    ],
)
async def test_people_too_meet_slacks_errors(slack_world: World, more: dict[str, str], error: str) -> None:
    answer = await slack_world.sim("message", **({"user": "U1", "channel": "C1", "text": "x"} | more))
    assert answer["error"] == error
    assert answer["http"] == (404 if error.endswith("_not_found") else 400)


async def test_a_file_with_a_message_is_for_the_bearer_of_the_bots_token(slack_world: World) -> None:
    content = base64.b64encode(b"\x89PNG data").decode()
    await slack_world.say("see", files=[{"name": "a b.png", "media_type": "image/png", "content": content}])
    [event] = await slack_world.listener.events(1)
    [file] = event["files"]
    assert (event["subtype"], file["name"], file["size"]) == ("file_share", "a b.png", 9)

    headers = {"Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    async with slack_world.http.get(file["url_private"], headers=headers) as response:
        assert await response.read() == b"\x89PNG data"
    async with slack_world.http.get(file["url_private"], allow_redirects=False) as response:
        assert response.status == 302
