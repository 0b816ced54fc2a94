"""The door over HTTP: who may knock, with how much, and what is answered when the log cannot take it."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.base import now
from schemas.buckets import OpenTurn, Turns
from schemas.inputs import Said
from schemas.keys import ts_token
from schemas.people import Person
from services.ingress.http import MOST_BODY
from services.ingress.signature import fresh, genuine, sign
from services.local.broker import running_broker
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.metrics import REFUSED
from services.runtime.topology import apply_map
from tests.ingress.stage import Door, Slack, eventually, running, stored

CROWD = 200


def mention(slack: Slack, text: str = "<@UBOT> go", **more: object) -> bytes:
    return slack.event(
        {"type": "app_mention", "channel": "C1", "user": "U1", "ts": slack.now(), "text": text} | more
    )


def refused(reason: str) -> float:
    return REFUSED.labels("ingress", reason)._value.get()


async def test_a_crowd_of_mentions_each_brought_twice_is_stored_in_batches_each_once(
    bus: Bus, slack: Slack, ingress: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    publish = bus.publish_together

    async def counted(drafts: Sequence[Draft], **more: Any) -> None:
        await publish(drafts, **more)  # a batch that is refused takes nobody along
        taken.append(len(drafts))

    monkeypatch.setattr(bus, "publish_together", counted)
    words = {"channel": "C1", "user": "U1", "text": "<@UBOT> go"}
    stamps = [slack.now() for _ in range(CROWD)]
    bodies = [
        slack.event({"type": kind, "ts": ts} | words) for ts in stamps for kind in ("app_mention", "message")
    ]
    answers = await asyncio.gather(*(slack.post(ingress, body) for body in bodies))
    assert {status for status, _ in answers} == {200}
    assert len(await stored(bus)) == CROWD
    assert sum(taken) > CROWD / 2


async def test_slack_verifies_the_address(slack: Slack, ingress: Door) -> None:
    body = b'{"type": "url_verification", "challenge": "abc", "token": "t"}'
    assert await slack.post(ingress, body) == (200, b'{"challenge":"abc"}')


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"X-Slack-Signature": "v0=" + "0" * 64}, 401, "forged"),
        ({"X-Slack-Signature": ""}, 401, "forged"),
        ({"X-Slack-Signature": "v0=ä"}, 401, "forged"),
        ({"X-Slack-Request-Timestamp": "0"}, 401, "stale"),
        ({"X-Slack-Request-Timestamp": str(int(time.time()) + 3600)}, 401, "stale"),
        ({"X-Slack-Request-Timestamp": "soon"}, 401, "stale"),
    ],
)
async def test_who_is_not_slack_stays_outside(
    bus: Bus, slack: Slack, ingress: Door, headers: dict[str, str], status: int, reason: str
) -> None:
    before = refused(reason)
    answer, body = await slack.post(ingress, mention(slack), **headers)
    assert (answer, "error" in msgspec.json.decode(body)) == (status, True)
    assert refused(reason) == before + 1
    assert await stored(bus) == {}


async def test_a_replayed_request_outside_of_the_window_is_refused(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    body, then = mention(slack), str(int(time.time()) - 301)
    signature = sign(slack.simulator.signing_secret, then, body)
    headers = {"X-Slack-Request-Timestamp": then, "X-Slack-Signature": signature}
    assert (await slack.post(ingress, body, **headers))[0] == 401
    assert await stored(bus) == {}


async def test_a_body_over_the_bound_is_not_even_checked(slack: Slack, ingress: Door) -> None:
    assert (await slack.post(ingress, b"x" * (MOST_BODY + 1)))[0] == 413
    assert (await slack.post(ingress, b"x" * MOST_BODY))[0] == 400, "as large as may be, and nonsense"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type": "event_callback"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type":"event_callback","team_id":"T1","event":{"type":"message","channel":1,"ts":"1.1"}}',
        b'{"type":"event_callback","team_id":"T1","event":{"type":"message","channel":"C1","ts":"yesterday"}}',
        b'{"type":"event_callback","team_id":"T.1","event":{"type":"app_mention","channel":"C1","user":"U1","text":"x","ts":"%s"}}'
        % f"{time.time():.6f}".encode(),
        b'{"type":"event_callback","team_id":"T1","event":{"type":"app_mention","channel":"C1.>","user":"U1","text":"x","ts":"%s"}}'
        % f"{time.time():.6f}".encode(),
    ],
)
async def test_malformed_events_are_told_so_and_touch_nothing(
    bus: Bus, slack: Slack, ingress: Door, body: bytes
) -> None:
    status, answer = await slack.post(ingress, body)
    assert (status, "error" in msgspec.json.decode(answer)) == (400, True)
    assert await stored(bus) == {}


async def test_what_slack_may_send_one_day_is_acknowledged(bus: Bus, slack: Slack, ingress: Door) -> None:
    for event in (
        {"type": "channel_created", "channel": {"id": "C9"}},
        {"type": "message", "subtype": "channel_join", "channel": "C1", "user": "U1", "ts": slack.now()},
        {
            "type": "message",
            "subtype": "new_kind",
            "channel": "C1",
            "user": "U1",
            "ts": slack.now(),
            "text": "<@UBOT>",
        },
    ):
        assert (await slack.post(ingress, slack.event(event)))[0] == 200
    assert (await slack.post(ingress, b'{"type": "app_rate_limited", "team_id": "T1"}'))[0] == 200
    form = urlencode({"payload": '{"type": "view_closed"}'}).encode()
    assert (await slack.post(ingress, form, "/slack/interactive"))[0] == 200
    assert await stored(bus) == {}


async def test_events_older_than_the_logs_memory_are_refused(bus: Bus, slack: Slack, ingress: Door) -> None:
    for seconds in (-24 * 3600 - 60, 3600):
        assert (await slack.post(ingress, mention(slack, ts=slack.now(seconds))))[0] == 200
    assert await stored(bus) == {}


async def test_people_of_another_company_and_other_bots_are_not_heard(bus: Bus, slack: Slack) -> None:
    stranger = {"user": "U9", "user_team": "T9"}
    async with running(bus, slack) as closed:
        assert (await slack.post(closed, shared(slack, **stranger)))[0] == 200
        assert (await slack.post(closed, shared(slack, user="U8")))[0] == 200
        assert (await slack.post(closed, mention(slack, bot_id="B7", user=None)))[0] == 200
        assert await stored(bus) == {}
        assert (await slack.post(closed, shared(slack, user="U1", user_team="T1")))[0] == 200
        assert len(await stored(bus)) == 1
    async with running(bus, slack, access={"external_teams": ["T9"], "bots": ["B7"]}) as opened:
        assert (await slack.post(opened, shared(slack, **stranger)))[0] == 200
        assert (await slack.post(opened, mention(slack, bot_id="B7", user=None)))[0] == 200
    assert len(await stored(bus)) == 3


def shared(slack: Slack, **more: object) -> bytes:
    event = {"type": "app_mention", "channel": "C1", "ts": slack.now(), "text": "<@UBOT> go"} | more
    return slack.event(event, is_ext_shared_channel=True)


async def test_no_broker_no_acknowledgement(slack: Slack, tmp_path: Path) -> None:
    async with running_broker(tmp_path / "one") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
        bus = Bus(client)
        await apply_map(bus)
        async with running(bus, slack) as door:
            body = mention(slack)
            await broker.stop()
            # The machine may hold one of them up.
            assert min([await turned_away(slack, door, body) for _ in range(3)]) < 2.9, "Slack waits 3 s"
            notices = await eventually(lambda: slack.calls("chat.postEphemeral"))
            assert "not taken yet" in notices[0]["args"]["text"]
            await broker.start()
            await eventually(lambda: is_connected(bus))
            assert (await slack.post(door, body))[0] == 200
            assert len(await stored(bus)) == 1
            assert len(await slack.calls("chat.postEphemeral")) == 1
        await close_connection(client)


async def turned_away(slack: Slack, door: str, body: bytes) -> float:
    """Return after how many seconds `body` was refused."""
    since = time.monotonic()
    assert (await slack.post(door, body))[0] == 503
    return time.monotonic() - since


async def is_connected(bus: Bus) -> bool:
    return bus.connected


async def test_a_full_log_is_told_and_not_acknowledged(bus: Bus, slack: Slack, ingress: Door) -> None:
    await shrink(bus, 5_000)
    statuses = [(await slack.post(ingress, mention(slack, "<@UBOT> " + "x" * 900)))[0] for _ in range(8)]

    assert statuses[0] == 200
    assert statuses[-1] == 503
    assert len(await stored(bus)) == statuses.count(200)
    calls = await eventually(lambda: slack.calls("chat.postEphemeral"))
    assert "full" in calls[0]["args"]["text"]


async def test_a_nearly_full_log_takes_no_new_turn_but_all_else(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = await slack.says("@threadmill fix it")
    await eventually(lambda: stored(bus))
    await slack.settled()
    info = await bus.api("STREAM.INFO.SESSIONS", None)
    await shrink(bus, info["state"]["bytes"] * 5 // 4)
    await ingress.service._capacity.look()

    assert (await slack.post(ingress, mention(slack)))[0] == 200
    await shrink(bus, 8 * 2**30)
    opened = OpenTurn(turn=1, user=Person(id="U1"), opened_at=now(), deadline=now())
    await Bucket(bus, "turns", Turns).create(f"T1.C1.{ts_token(root)}", Turns(open=opened))
    await slack.says("this steers", thread_ts=root)
    await slack.says("stop", thread_ts=root)

    await slack.settled()
    kinds = [type(message).__name__ for message in (await stored(bus)).values()]
    assert sorted(kinds) == ["Said", "Said", "Stop"]
    calls = await eventually(lambda: slack.calls("chat.postEphemeral"))
    assert "nearly full" in calls[0]["args"]["text"]


async def shrink(bus: Bus, most: int) -> None:
    info = await bus.api("STREAM.INFO.SESSIONS", None)
    answer = await bus.api("STREAM.UPDATE.SESSIONS", info["config"] | {"max_bytes": most})
    assert "error" not in answer, answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [
        "type",
        "subtype",
        "channel",
        "user",
        "ts",
        "event_ts",
        "text",
        "thread_ts",
        "files",
        "message",
        "previous_message",
        "deleted_ts",
        "item",
        "reaction",
    ]
)
kinds = st.sampled_from(["message", "app_mention", "reaction_added", "agent_session_stopped", "other"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.dictionaries(names, json_values, max_size=8), kind=kinds, outer=json_values)
async def test_no_signed_body_breaks_the_door(
    slack: Slack, ingress: Door, event: dict[str, object], kind: str, outer: object
) -> None:
    hostile = msgspec.json.encode(
        {"type": "event_callback", "team_id": outer, "event": event | {"type": kind}}
    )
    assert (await slack.post(ingress, hostile))[0] in {200, 400}
    plausible = slack.event(
        {"ts": slack.now(), "event_ts": slack.now(), "channel": "C1"} | event | {"type": kind}
    )
    assert (await slack.post(ingress, plausible))[0] in {200, 400}


press_names = st.sampled_from(
    ["type", "user", "team", "channel", "container", "actions", "trigger_id", "action_id", "value", "id"]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=st.dictionaries(press_names, json_values, max_size=8),
    action=st.dictionaries(press_names, json_values),
)
async def test_no_signed_press_breaks_the_door(
    slack: Slack, ingress: Door, payload: dict[str, object], action: dict[str, object]
) -> None:
    ours = {"action_id": "threadmill.stop", "action_ts": slack.now()} | action
    plausible = {"type": "block_actions", "user": {"id": "U1"}, "channel": {"id": "C1"}, "actions": [ours]}
    form = urlencode({"payload": msgspec.json.encode(plausible | payload).decode()}).encode()
    assert (await slack.post(ingress, form, "/slack/interactive"))[0] in {200, 400}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
async def test_no_bytes_break_the_door(slack: Slack, ingress: Door, body: bytes) -> None:
    assert (await slack.post(ingress, body))[0] == 400
    assert (await slack.post(ingress, b"payload=" + body, "/slack/interactive"))[0] == 400


@given(st.text(), st.text(), st.binary())
def test_only_slacks_own_signature_is_genuine(timestamp: str, signature: str, body: bytes) -> None:
    assert not genuine("secret", timestamp, signature, body)
    assert genuine("secret", timestamp, sign("secret", timestamp, body), body)
    assert not fresh(timestamp, 1e15)


def test_the_signature_is_the_one_of_slacks_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    wanted = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body) == wanted


async def test_the_agent_reads_what_people_read(bus: Bus, slack: Slack, ingress: Door) -> None:
    text = "<@UBOT> see <https://a.b/c|the page>, <https://a.b|a.b> in <#C2|backend>, <@U2>: 1 &lt; 2"
    await slack.post(ingress, mention(slack, text))
    (said,) = (await stored(bus)).values()
    assert isinstance(said, Said)
    assert said.text == "see [the page](https://a.b/c), https://a.b in #backend, @U2: 1 < 2"


@pytest.mark.parametrize("user", ["U1 OR 1", "*", "U.1", "", "U" * 80])
async def test_a_person_without_a_slack_id_is_refused_and_nothing_is_stored(
    bus: Bus, slack: Slack, ingress: Door, user: str
) -> None:
    body = slack.event(
        {"type": "app_mention", "channel": "C1", "user": user, "ts": slack.now(), "text": "go"}
    )
    status, _ = await slack.post(ingress, body)
    assert status == (400 if user else 200)  # nobody said it: an event without a person is none for us
    assert await stored(bus) == {}
