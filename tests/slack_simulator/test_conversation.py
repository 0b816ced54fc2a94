"""A person and an app talk: what is said reaches the app, what the app answers is seen in the thread."""

from tests.slack_simulator.conftest import World


async def test_a_mention_arrives_as_a_pair_and_the_answer_stands_in_the_thread(slack_world: World) -> None:
    ts = await slack_world.say("@threadmill fix the build")

    mention, message = await slack_world.listener.events(2)
    assert (mention["type"], message["type"]) == ("app_mention", "message")
    assert mention["ts"] == message["ts"] == ts
    assert mention["text"] == message["text"] == "<@UBOT> fix the build"
    assert message["channel_type"] == "channel"

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
