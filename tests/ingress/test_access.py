"""Who may use the bot, and where; who may not is told so once, and only when they spoke to it."""

import pytest

from services.ingress.access import Actor, Kind, Rules, kind_of, refusal
from services.runtime.bus import Bus
from tests.ingress.stage import Slack, eventually, running, stored


def actor(user: str = "U1", channel: str = "C1", team: str = "T1", kind: Kind = "public") -> Actor:
    return Actor(user=user, channel=channel, team=team, kind=kind)


@pytest.mark.parametrize(
    ("rules", "who", "allowed"),
    [
        (Rules(), actor(), True),
        (Rules(block_users=("U1",)), actor(), False),
        (Rules(block_users=("U1",), allow_users=("U1",)), actor(), False),
        (Rules(block_channels=("C1",)), actor(), False),
        (Rules(block_teams=("T1",)), actor(), False),
        (Rules(allow_users=("U2",)), actor(), False),
        (Rules(allow_users=("U1",)), actor(), True),
        (Rules(allow_channels=("C2",)), actor(), False),
        (Rules(allow_channels=("C2",)), actor(channel="D1", kind="direct"), True),
        (Rules(allow_teams=("T2",)), actor(), False),
        (Rules(allow_users=("U1",), allow_channels=("C2",)), actor(), False),
        (Rules(direct_messages=False), actor(channel="D1", kind="direct"), False),
        (Rules(direct_messages=False), actor(), True),
        (Rules(private_channels=False), actor(kind="private"), False),
        (Rules(private_channels=False), actor(), True),
    ],
)
def test_blocklist_then_allowlist_then_open(rules: Rules, who: Actor, *, allowed: bool) -> None:
    assert (refusal(rules, who) == "") is allowed


@pytest.mark.parametrize(
    ("channel", "channel_type", "kind"),
    [
        ("D1", None, "direct"),
        ("C1", "im", "direct"),
        ("C1", "group", "private"),
        ("C1", "mpim", "private"),
        ("G1", None, "private"),
        ("C1", "channel", "public"),
        ("C1", None, "unknown"),
    ],
)
def test_what_a_conversation_is(channel: str, channel_type: str | None, kind: Kind) -> None:
    assert kind_of(channel, channel_type) == kind


async def test_a_refusal_is_one_notice_for_the_person_alone(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"block_users": ["U1"]}):
        await slack.says("@threadmill fix it")
        (call,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
        await slack.settled()
        assert len(await slack.calls("chat.postEphemeral")) == 1, "the pair is one message"
    assert (call["args"]["user"], call["args"]["channel"]) == ("U1", "C1")
    assert "blocklist" in call["args"]["text"]
    assert await stored(bus) == {}


async def test_who_does_not_speak_to_the_bot_hears_nothing_of_it(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"block_users": ["U1"]}):
        root = await slack.says("lunch?")
        await slack.says("yes", thread_ts=root)
        await slack.settled()
    assert not await slack.calls("chat.postEphemeral")


async def test_who_may_not_drive_cannot_steer_or_stop_the_session_of_others(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"allow_users": ["U1"]}):
        root = await slack.says("@threadmill fix it")
        await eventually(lambda: stored(bus))
        await slack.says("do something else", user="U2", thread_ts=root)
        await slack.says("stop", user="U2", thread_ts=root)
        await slack.act("reaction", user="U2", channel="C1", ts=root, name="octagonal_sign")
        await slack.act("stop", user="U2", channel="C1", thread_ts=root)
        await slack.settled()
    assert len(await stored(bus)) == 1
    assert {call["args"]["user"] for call in await slack.calls("chat.postEphemeral")} == {"U2"}


async def test_private_channels_can_be_switched_off(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"private_channels": False}) as door:
        event = {"type": "message", "channel_type": "group", "channel": "C1", "user": "U1", "ts": slack.now()}
        assert (await slack.post(door, slack.event(event | {"text": "<@UBOT> go"})))[0] == 200
        (call,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
        assert "private channels" in call["args"]["text"]
        assert await stored(bus) == {}
        assert not await slack.calls("conversations.info"), "the event told it"

        await slack.says("@threadmill in public")
        await eventually(lambda: stored(bus))
        await slack.settled()
    assert len(await slack.calls("conversations.info")) == 1, "the mention does not tell, Slack is asked once"


async def test_direct_messages_can_be_switched_off(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"direct_messages": False}):
        await slack.says("hello", channel="D1")
        (call,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
    assert "no direct messages" in call["args"]["text"]
    assert await stored(bus) == {}
