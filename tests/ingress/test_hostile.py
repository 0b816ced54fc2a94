"""Payloads of Slack's own shapes with something wrong in them: each gets its answer, and the next one is taken."""

from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.keys import ts_token
from services.ingress.metrics import DECISIONS
from services.ingress.text import plain
from services.local.slack import acts
from services.local.slack.app import Simulator
from services.local.slack.bodies import Attached as File
from services.local.slack.bodies import Delete, Edit, React, Say, Stop
from services.runtime.bus import Bus
from services.runtime.metrics import REFUSED
from tests.ingress.stage import Door, Slack, stored
from tests.mutations import mutated

FEW = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
STOP = {
    "type": "block_actions",
    "user": {"id": "U1", "username": "ada", "name": "ada", "team_id": "T1"},
    "container": {"type": "message", "message_ts": "1.1", "channel_id": "C1", "is_ephemeral": False},
    "trigger_id": "t",
    "team": {"id": "T1", "domain": "threadmill"},
    "channel": {"id": "C1", "name": "general"},
    "actions": [
        {
            "type": "button",
            "action_id": "threadmill.stop",
            "block_id": "b",
            "value": '{"k":"T1.C1.1-1"}',
            "action_ts": "",
        }
    ],
}


@cache
def real_events() -> list[dict[str, Any]]:
    """One of each event that people cause, as Slack wraps it."""
    simulator, sent = Simulator(), list[dict[str, Any]]()
    ctx = simulator._context("http://slack")

    def send(_: object, payloads: list[dict[str, Any]], __: str) -> None:
        sent.extend(acts.events.wrap(ctx.workspace, one) for one in payloads)

    file = File(name="a.txt", content="YQ==")
    ts = acts.say(ctx, send, Say(user="U1", channel="C1", text="@threadmill fix it", files=[file]))["ts"]
    acts.say(ctx, send, Say(user="U2", channel="C1", text="and this", thread_ts=ts))
    acts.edit(ctx, send, Edit(user="U1", channel="C1", ts=ts, text="@threadmill fix that"))
    acts.react(ctx, send, React(user="U2", channel="C1", ts=ts, name="octagonal_sign"))
    acts.stop(ctx, send, Stop(user="U1", channel="C1", thread_ts=ts))
    acts.delete(ctx, send, Delete(user="U1", channel="C1", ts=ts))
    return sent


def counted() -> float:
    """How many payloads were counted, whatever became of them."""
    samples = [
        sample for counter in (DECISIONS, REFUSED) for each in counter.collect() for sample in each.samples
    ]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


async def a_neighbour_is_taken(bus: Bus, slack: Slack, door: Door) -> None:
    ts = slack.now()
    event = {"type": "app_mention", "channel": "C1", "user": "U1", "ts": ts, "text": "<@UBOT> go"}
    assert (await slack.post(door, slack.event(event)))[0] == 200
    key = f"session.T1.C1.{ts_token(ts)}.in.{ts_token(ts)}"
    assert await bus.last("SESSIONS", key) is not None


@FEW
@given(body=st.deferred(lambda: st.sampled_from(real_events()).flatmap(mutated)))
async def test_an_event_with_something_wrong_is_answered_and_counted(
    bus: Bus, slack: Slack, ingress: Door, body: bytes
) -> None:
    before = counted()
    assert (await slack.post(ingress, body))[0] in {200, 400}
    assert counted() > before
    await a_neighbour_is_taken(bus, slack, ingress)


@FEW
@given(data=st.data())
async def test_a_press_with_something_wrong_is_answered_and_counted(
    bus: Bus, slack: Slack, ingress: Door, data: st.DataObject
) -> None:
    action = STOP["actions"][0] | {"action_ts": slack.now()}
    payload = data.draw(mutated(STOP | {"actions": [action]}))
    before = counted()
    form = urlencode({"payload": payload}).encode()
    assert (await slack.post(ingress, form, "/slack/interactive"))[0] in {200, 400}
    assert counted() > before
    await a_neighbour_is_taken(bus, slack, ingress)


@pytest.mark.parametrize("wrong", [{"ts": "9999999999999999.1"}, {"ts": "1.1"}], ids=["far", "long ago"])
async def test_a_message_counts_by_its_own_time_not_by_that_of_its_event(
    bus: Bus, slack: Slack, ingress: Door, wrong: dict[str, str]
) -> None:
    event = {"type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UBOT> go"}
    assert (await slack.post(ingress, slack.event(event | {"event_ts": slack.now()} | wrong)))[0] == 200
    assert await stored(bus) == {}


async def test_a_file_without_a_slack_id_is_refused_and_its_thread_is_no_session(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    root = slack.now()
    event = {"type": "app_mention", "channel": "C1", "user": "U1", "text": "<@UBOT> go", "ts": root}
    assert (await slack.post(ingress, slack.event(event | {"files": [{"id": "../F1"}]})))[0] == 400
    reply = {"type": "message", "channel": "C1", "user": "U1", "text": "hello?", "thread_ts": root}
    assert (await slack.post(ingress, slack.event(reply | {"ts": slack.now()})))[0] == 200
    assert await stored(bus) == {}


def test_only_slacks_own_three_signs_are_resolved() -> None:
    digits = "&#" + "1" * 5_000 + ";"
    assert plain(f"1 &lt; 2 &amp;&amp; 3 &gt; 2 &amp;lt; &eacute; {digits}", "UBOT") == (
        f"1 < 2 && 3 > 2 &lt; &eacute; {digits}"
    )
