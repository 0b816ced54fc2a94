"""What Slack limits is limited: sizes, counts, and how often."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.errors import SlackApiError

from services.local.slack import limits
from services.local.slack.api import METHODS
from services.local.slack.app import Simulator
from services.local.slack.blocks import check_blocks
from services.local.slack.calls import read_arguments
from services.local.slack.errors import SlackError
from tests.slack_simulator.conftest import World, world


class HeldClock:
    """Time that moves when a test moves it."""

    def __init__(self) -> None:
        self.time = time.time()

    def now(self) -> float:
        return self.time

    def after(self, seconds: float) -> float:
        return self.time + seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


def text(content: str, kind: str = "mrkdwn") -> dict[str, Any]:
    return {"type": kind, "text": content}


def section(content: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": text(content), **more}


def button(label: str = "go", **more: Any) -> dict[str, Any]:
    return {"type": "button", "text": text(label, "plain_text"), "action_id": "a", **more}


def numbered(count: int) -> list[dict[str, Any]]:
    return [button(action_id=f"a{number}") for number in range(count)]


def rows(count: int, cells: int) -> list[list[dict[str, Any]]]:
    return [[{"type": "raw_text", "text": "x"}] * cells for _ in range(count)]


FITS = [
    [section() for _ in range(50)],
    [section("x" * 3000)],
    [{"type": "header", "text": text("x" * 150, "plain_text")}],
    [{"type": "markdown", "text": "x" * 12_000}],
    [{"type": "actions", "elements": numbered(25)}],
    [{"type": "context", "elements": [text("x")] * 10}],
    [{"type": "actions", "elements": [button("x" * 75, value="v" * 2000)]}],
    [section(block_id="b" * 255)],
    [{"type": "table", "rows": rows(100, 20)}],
    [{"type": "task_card", "task_id": "1", "title": "t", "status": "complete"}],
    [{"type": "plan", "title": "p", "tasks": [{"type": "task_card", "task_id": "1", "title": "t", "status": "pending"}]}],
]  # fmt: skip
TOO_MUCH = [
    [section() for _ in range(51)],
    [section("x" * 3001)],
    [{"type": "header", "text": text("x" * 151, "plain_text")}],
    [{"type": "header", "text": text("x")}],
    [{"type": "markdown", "text": "x" * 12_001}],
    [{"type": "actions", "elements": numbered(26)}],
    [{"type": "actions", "elements": [button(), button()]}],
    [{"type": "actions", "elements": []}],
    [{"type": "context", "elements": [text("x")] * 11}],
    [{"type": "actions", "elements": [button("x" * 76)]}],
    [{"type": "actions", "elements": [button(value="v" * 2001)]}],
    [section(block_id="b" * 256)],
    [section(block_id="same"), section(block_id="same")],
    [{"type": "table", "rows": rows(101, 1)}],
    [{"type": "table", "rows": rows(1, 21)}],
    [{"type": "task_card", "task_id": "1", "title": "t", "status": "done"}],
    [{"type": "section"}],
    [{"type": "section", "text": "not an object"}],
    [{"type": "hologram"}],
    [section(surprise=True)],
    [{"text": "no type"}],
]


@pytest.mark.parametrize("blocks", FITS)
def test_blocks_at_the_limit_fit(blocks: list[dict[str, Any]]) -> None:
    check_blocks(blocks)


@pytest.mark.parametrize("blocks", TOO_MUCH)
def test_blocks_beyond_a_limit_are_invalid_and_say_where(blocks: list[dict[str, Any]]) -> None:
    with pytest.raises(SlackError) as caught:
        check_blocks(blocks)
    assert caught.value.error == "invalid_blocks"
    assert "json-pointer:/blocks" in caught.value.details["response_metadata"]["messages"][0]


def test_all_the_text_of_a_message_together_is_limited() -> None:
    with pytest.raises(SlackError, match="msg_blocks_too_long"):
        check_blocks([section("x" * 2700) for _ in range(5)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
block_like = st.dictionaries(
    st.sampled_from(["type", "text", "elements", "rows", "title", "tasks", "block_id", "accessory", "fields"]),
    json_values | st.sampled_from(["section", "actions", "header", "table", "plan", "context", "input", "rich_text"]),
    max_size=6,
)  # fmt: skip


@given(st.lists(block_like | json_values, max_size=4))
def test_no_block_however_strange_breaks_the_check(blocks: list[Any]) -> None:
    with suppress(SlackError):
        check_blocks(blocks)


@given(st.sampled_from(sorted(METHODS)), st.dictionaries(st.sampled_from(["channel", "blocks", "ts", "limit", "chunks", "files", "metadata"]), json_values))  # fmt: skip
def test_no_arguments_however_strange_break_a_method(method: str, arguments: dict[str, Any]) -> None:
    with suppress(SlackError):
        read_arguments(METHODS[method].arguments, arguments)


def test_a_tier_counts_all_channels_together() -> None:
    buckets = limits.Buckets()
    taken = [buckets.take("m", limits.TIER_2, f"C{number}", 0.0) for number in range(21)]
    assert (taken[:20], taken[20] > 0) == ([0] * 20, True)


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def test_texts_are_truncated_or_refused_as_slack_does(slack_world: World) -> None:
    slack = slack_world.slack
    posted = await slack.chat_postMessage(channel="C1", text="x" * 40_001)
    assert len(posted["message"]["text"]) == 40_000
    assert await error_of(slack.chat_update(channel="C1", ts=posted["ts"], text="x" * 4001)) == "msg_too_long"
    assert await error_of(slack.chat_postMessage(channel="C1", markdown_text="x" * 12_001)) == "msg_too_long"
    huge = {"event_type": "e", "event_payload": {"x": "y" * 8192}}
    assert (
        await error_of(slack.chat_postMessage(channel="C1", text="x", metadata=huge)) == "metadata_too_large"
    )
    odd = {"event_type": "e"}
    assert (
        await error_of(slack.chat_postMessage(channel="C1", text="x", metadata=odd))
        == "invalid_metadata_format"
    )


async def test_a_status_takes_ten_loading_messages(slack_world: World) -> None:
    ts = await slack_world.say("x")
    arguments = {"channel_id": "C1", "thread_ts": ts, "status": "thinking"}
    await slack_world.slack.assistant_threads_setStatus(**arguments, loading_messages=["."] * 10)
    too_many = slack_world.slack.assistant_threads_setStatus(**arguments, loading_messages=["."] * 11)
    assert await error_of(too_many) == "invalid_arguments"


@pytest.mark.parametrize(
    ("pace", "burst"),
    [(limits.TIER_2, 20), (limits.TIER_3, 50), (limits.TIER_4, 100), (limits.ONE_PER_SECOND_AND_CHANNEL, 5)],
)
def test_a_bucket_gives_its_burst_and_then_its_pace(pace: limits.Pace, burst: int) -> None:
    buckets = limits.Buckets()
    assert [buckets.take("m", pace, "C1", 0.0) for _ in range(burst)] == [0] * burst
    wait = buckets.take("m", pace, "C1", 0.0)
    assert wait >= 1
    assert buckets.take("m", pace, "C1", float(wait)) == 0


async def test_posting_too_fast_is_429_for_that_channel_alone_until_retry_after() -> None:
    clock = HeldClock()
    async with world(Simulator(clock=clock)) as here:
        for _ in range(5):
            await here.slack.chat_postMessage(channel="C1", text="x")
        with pytest.raises(SlackApiError) as caught:
            await here.slack.chat_postMessage(channel="C1", text="x")
        response = caught.value.response
        assert (response.status_code, response["error"]) == (429, "ratelimited")
        await here.slack.chat_postMessage(channel="C2", text="x")
        clock.time += int(response.headers["Retry-After"])
        await here.slack.chat_postMessage(channel="C1", text="x")


async def test_updates_are_tier_3_for_the_whole_workspace() -> None:
    async with world(Simulator(clock=HeldClock())) as here:
        posted = await here.slack.chat_postMessage(channel="C1", text="x")
        for number in range(50):
            await here.slack.chat_update(channel="C1", ts=posted["ts"], text=str(number))
        assert (
            await error_of(here.slack.chat_update(channel="C1", ts=posted["ts"], text="x")) == "ratelimited"
        )


async def test_an_assistants_status_lasts_two_minutes() -> None:
    clock = HeldClock()
    async with world(Simulator(clock=clock)) as here:
        ts = await here.say("x")
        await here.slack.assistant_threads_setStatus(channel_id="C1", thread_ts=ts, status="thinking")
        clock.time += 119
        assert (await here.thread(ts))["status"] == "thinking"
        clock.time += 1
        assert (await here.thread(ts))["status"] is None
