"""Events reach the app over HTTP, are tried again on Slack's schedule, and go wrong when a test orders it."""

import asyncio
import itertools

import aiohttp
import pytest

from services.local.slack.app import Simulator
from tests.slack_simulator.conftest import Delivered, World, world


def retries(received: list[Delivered]) -> list[tuple[str | None, str | None]]:
    return [
        (one.headers.get("X-Slack-Retry-Num"), one.headers.get("X-Slack-Retry-Reason")) for one in received
    ]


def until(count: int):
    return lambda received: len(received) >= count


async def test_an_event_that_is_refused_comes_three_times_again_and_says_so(slack_world: World) -> None:
    slack_world.listener.answers = [503, 503, 503, 503]
    await slack_world.say("hello")
    received = await slack_world.listener.until(until(4))
    assert retries(received) == [(None, None), ("1", "http_error"), ("2", "http_error"), ("3", "http_error")]
    assert len({one.payload["event_id"] for one in received}) == 1


async def test_the_waits_are_none_a_minute_and_five_in_slacks_time() -> None:
    async with world(Simulator(time_scale=0.01)) as here:
        here.listener.answers = [503, 503, 503]
        await here.say("hello")
        at = [one.at for one in await here.listener.until(until(4))]
    at_once, a_minute, five_minutes = (after - before for before, after in itertools.pairwise(at))
    assert a_minute >= 0.6
    assert five_minutes >= 3.0
    assert at_once < five_minutes


async def test_an_event_that_is_taken_after_a_refusal_comes_no_more(slack_world: World) -> None:
    slack_world.listener.answers = [503]
    await slack_world.say("one")
    await slack_world.say("two")
    received = await slack_world.listener.until(until(3))
    await asyncio.gather(*slack_world.simulator._delivery._tasks)
    assert sorted(one.event["text"] for one in received) == ["one", "one", "two"]


async def test_an_app_may_ask_for_no_retry(slack_world: World) -> None:
    slack_world.listener.answers, slack_world.listener.headers = [503], {"X-Slack-No-Retry": "1"}
    await slack_world.say("once")
    await slack_world.listener.until(until(1))
    await asyncio.gather(*slack_world.simulator._delivery._tasks)
    assert len(slack_world.listener.received) == 1


async def test_no_answer_in_time_is_a_timeout() -> None:
    async with world(Simulator(time_scale=0.001, ack_within=0.2)) as here:
        here.listener.hold = asyncio.Event()
        await here.say("hello")
        received = await here.listener.until(until(2))
        here.listener.hold.set()
        assert retries(received)[1] == ("1", "http_timeout")


async def test_an_app_that_is_not_there_yet_gets_the_event_later() -> None:
    simulator = Simulator(time_scale=0.01)
    async with world(simulator) as here:
        url = simulator._http.url
        simulator.deliver_to(None)
        await here.say("early")
        simulator.deliver_to(url)
        [event] = await here.listener.events(1)
        assert event["text"] == "early"
        assert retries(here.listener.received)[0][1] == "connection_failed"


async def test_a_press_is_not_tried_again(slack_world: World) -> None:
    button = {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "go"}}
    posted = await slack_world.slack.chat_postMessage(
        channel="C1", text="x", blocks=[{"type": "actions", "elements": [button]}]
    )
    await slack_world.listener.until(until(1))
    slack_world.listener.answers = [500]
    await slack_world.sim("action", user="U1", channel="C1", message_ts=posted["ts"], action_id="a")
    await slack_world.say("after")
    await slack_world.listener.events(2)
    await asyncio.gather(*slack_world.simulator._delivery._tasks)
    presses = [one for one in slack_world.listener.received if one.path == "/slack/interactive"]
    assert len(presses) == 1


async def test_messages_of_a_channel_keep_their_order(slack_world: World) -> None:
    for number in range(20):
        await slack_world.say(str(number))
    events = await slack_world.listener.events(20)
    assert [event["text"] for event in events] == [str(number) for number in range(20)]


async def test_a_message_waits_until_the_one_before_it_was_answered(slack_world: World) -> None:
    slack_world.listener.hold = asyncio.Event()
    await slack_world.say("first")
    await slack_world.say("second")
    await slack_world.listener.until(until(1))
    for _ in range(20):
        await slack_world.look("workspace")
    assert [one.event["text"] for one in slack_world.listener.received] == ["first"]
    slack_world.listener.hold.set()
    assert [event["text"] for event in await slack_world.listener.events(2)] == ["first", "second"]


async def test_fault_duplicate_delivers_both_of_a_pair_ten_times(slack_world: World) -> None:
    assert (await slack_world.sim("fault", deliver="duplicate", times=10))["ok"]
    await slack_world.say("@threadmill hello")
    received = await slack_world.listener.until(until(20))
    assert sorted({one.event["type"] for one in received}) == ["app_mention", "message"]
    assert {one.headers.get("X-Slack-Retry-Num") for one in received} == {None, *map(str, range(1, 10))}
    await slack_world.say("once")
    await slack_world.listener.until(until(21))
    await asyncio.gather(*slack_world.simulator._delivery._tasks)
    assert len(slack_world.listener.received) == 21


async def test_fault_drop_ack_brings_the_event_again(slack_world: World) -> None:
    await slack_world.sim("fault", deliver="drop_ack", times=2)
    await slack_world.say("hello")
    received = await slack_world.listener.until(until(3))
    assert retries(received) == [(None, None), ("1", "http_timeout"), ("2", "http_timeout")]


async def test_fault_disconnect_breaks_the_request_and_loses_nothing(slack_world: World) -> None:
    await slack_world.sim("fault", deliver="disconnect")
    await slack_world.say("hello")
    [event] = await slack_world.listener.events(1)
    assert event["text"] == "hello"
    assert retries(slack_world.listener.received) == [("1", "connection_failed")]


async def test_fault_delay_lets_a_later_message_pass(slack_world: World) -> None:
    await slack_world.sim("fault", deliver="delay", seconds=0.4)
    await slack_world.say("first")
    await slack_world.say("second")
    events = await slack_world.listener.events(2)
    assert [event["text"] for event in events] == ["second", "first"]


async def test_faults_strike_calls_by_pattern_and_so_many_times(slack_world: World) -> None:
    await slack_world.sim("fault", method="chat.*", status=429, retry_after=3, times=2)
    headers = {"Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    answers = []
    for _ in range(3):
        async with slack_world.http.post(
            f"{slack_world.url}/api/chat.postMessage", json={"channel": "C1", "text": "x"}, headers=headers
        ) as response:
            body = await response.json()
            answers.append((response.status, response.headers.get("Retry-After"), body.get("error")))
    assert answers == [(429, "3", "ratelimited"), (429, "3", "ratelimited"), (200, None, None)]
    calls = (await slack_world.look("calls"))["calls"]
    assert [one["status"] for one in calls] == [429, 429, 200]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"error": "msg_too_long"}, (200, "msg_too_long")),
        ({"status": 500}, (500, "internal_error")),
        ({"status": 503, "error": "service_unavailable"}, (503, "service_unavailable")),
    ],
)
async def test_a_call_fails_as_ordered(
    slack_world: World, fault: dict[str, object], expected: tuple[int, str]
) -> None:
    await slack_world.sim("fault", method="auth.test", **fault)
    async with slack_world.http.post(f"{slack_world.url}/api/auth.test") as response:
        assert (response.status, (await response.json())["error"]) == expected


async def test_a_lost_reply_means_done_but_not_answered(slack_world: World) -> None:
    await slack_world.sim("fault", method="chat.postMessage", lose_reply=True)
    headers = {"Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await slack_world.http.post(
            f"{slack_world.url}/api/chat.postMessage",
            json={"channel": "C1", "text": "there"},
            headers=headers,
        )
    [message] = (await slack_world.look("channel", channel="C1"))["messages"]
    assert message["text"] == "there"
