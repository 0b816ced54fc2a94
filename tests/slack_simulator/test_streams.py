"""A message that is written while it is read: it grows, it ends, it dies after five minutes."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.models.messages.chunk import BlocksChunk, MarkdownTextChunk, PlanUpdateChunk, TaskUpdateChunk

from services.local.slack.app import Simulator
from tests.slack_simulator.conftest import World, world
from tests.slack_simulator.test_limits import HeldClock

TO_ADA = {"recipient_user_id": "U1", "recipient_team_id": "T1"}


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


async def start(here: World, **more: Any) -> tuple[str, str]:
    root = await here.say("@threadmill go")
    answer = await here.slack.chat_startStream(channel="C1", thread_ts=root, **(TO_ADA | more))
    return root, answer["ts"]


async def streamed(here: World, root: str) -> dict[str, Any]:
    return (await here.thread(root))["messages"][1]


async def test_text_and_tasks_grow_in_place(slack_world: World) -> None:
    root, ts = await start(slack_world, chunks=[MarkdownTextChunk(text="I look")])
    await slack_world.slack.chat_appendStream(
        channel="C1",
        ts=ts,
        chunks=[
            MarkdownTextChunk(text=" around."),
            TaskUpdateChunk(id="1", title="Read a file", status="in_progress", details="app.py"),
        ],
    )
    await slack_world.slack.chat_appendStream(
        channel="C1",
        ts=ts,
        chunks=[
            TaskUpdateChunk(id="1", title="Read a file", status="complete", output="100 lines"),
            MarkdownTextChunk(text="Done."),
            BlocksChunk(blocks=[{"type": "divider"}]),
        ],
    )
    message = await streamed(slack_world, root)
    assert message["streaming_state"] == "in_progress"
    assert message["text"] == "I look around.Done."
    text, card, rest, divider = message["blocks"]
    assert (text["type"], text["text"]) == ("markdown", "I look around.")
    assert (card["type"], card["task_id"], card["status"]) == ("task_card", "1", "complete")
    assert card["details"]["elements"][0]["elements"][0]["text"] == "app.py"
    assert card["output"]["elements"][0]["elements"][0]["text"] == "100 lines"
    assert (rest["text"], divider["type"]) == ("Done.", "divider")


async def test_in_plan_mode_the_tasks_stand_in_the_plan(slack_world: World) -> None:
    root, ts = await start(slack_world, task_display_mode="plan", chunks=[PlanUpdateChunk(title="Working")])
    tasks = [TaskUpdateChunk(id=str(n), title=f"t{n}", status="pending") for n in range(2)]
    await slack_world.slack.chat_appendStream(channel="C1", ts=ts, chunks=tasks)
    await slack_world.slack.chat_appendStream(channel="C1", ts=ts, chunks=[PlanUpdateChunk(title="Done")])
    [plan] = (await streamed(slack_world, root))["blocks"]
    assert (plan["type"], plan["title"], [task["task_id"] for task in plan["tasks"]]) == (
        "plan",
        "Done",
        ["0", "1"],
    )


async def test_the_end_brings_blocks_metadata_and_the_sessions_status(slack_world: World) -> None:
    root, ts = await start(slack_world, markdown_text="text")
    metadata = {"event_type": "turn", "event_payload": {"n": 1}}
    stopped = await slack_world.slack.chat_stopStream(
        channel="C1",
        ts=ts,
        markdown_text=" end",
        blocks=[{"type": "divider"}],
        metadata=metadata,
        session_status="active",
    )
    assert stopped["message"]["text"] == "text end"
    seen = await slack_world.thread(root)
    message = seen["messages"][1]
    assert (message["streaming_state"], message["metadata"], seen["session_status"]) == (
        "completed",
        metadata,
        "active",
    )
    assert [block["type"] for block in message["blocks"]] == ["markdown", "divider"]
    again = slack_world.slack.chat_appendStream(channel="C1", ts=ts, markdown_text="more")
    assert await error_of(again) == "message_not_in_streaming_state"


async def test_slacks_own_stream_helper_works(slack_world: World) -> None:
    root = await slack_world.say("@threadmill go")
    stream = await slack_world.slack.chat_stream(channel="C1", thread_ts=root, buffer_size=4, **TO_ADA)
    for piece in ("Hello ", "wor", "ld."):
        await stream.append(markdown_text=piece)
    await stream.stop()
    message = await streamed(slack_world, root)
    assert (message["text"], message["streaming_state"]) == ("Hello world.", "completed")


async def test_in_a_channel_a_stream_names_whom_it_is_for(slack_world: World) -> None:
    root = await slack_world.say("x")
    place = {"channel": "C1", "thread_ts": root}
    slack = slack_world.slack
    assert await error_of(slack.chat_startStream(**place)) == "missing_recipient_user_id"
    assert (
        await error_of(slack.chat_startStream(**place, recipient_user_id="U1")) == "missing_recipient_team_id"
    )
    unknown = slack.chat_startStream(**place, recipient_user_id="U9", recipient_team_id="T1")
    assert await error_of(unknown) == "user_not_found"
    direct = await slack_world.say("x", channel="D1")
    assert (await slack.chat_startStream(channel="D1", thread_ts=direct))["ok"]


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ({"markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"chunks": [{"type": "markdown_text", "text": "x" * 12_001}]}, "msg_too_long"),
        ({"chunks": [{"type": "song"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "task_update", "id": "1", "title": "t", "status": "done"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "task_update", "id": "1", "title": "t", "status": "error", "output": "x" * 257}]}, "invalid_chunks"),
        ({"chunks": [{"type": "blocks", "blocks": [{"type": "hologram"}]}]}, "invalid_blocks"),
        ({"markdown_text": "x", "chunks": [{"type": "markdown_text", "text": "x"}]}, "markdown_text_conflict"),
    ],
)  # fmt: skip
async def test_content_that_slack_refuses_changes_nothing(
    slack_world: World, written: dict[str, Any], error: str
) -> None:
    root, ts = await start(slack_world)
    assert await error_of(slack_world.slack.chat_appendStream(channel="C1", ts=ts, **written)) == error
    message = await streamed(slack_world, root)
    assert (message["text"], "blocks" in message) == ("", False)


async def test_a_stream_keeps_the_shape_of_its_first_content(slack_world: World) -> None:
    _, ts = await start(slack_world, markdown_text="text")
    mixed = slack_world.slack.chat_appendStream(channel="C1", ts=ts, chunks=[MarkdownTextChunk(text="x")])
    assert await error_of(mixed) == "streaming_mode_mismatch"


async def test_a_running_stream_is_not_updated_and_a_stopped_one_takes_no_more(slack_world: World) -> None:
    root, ts = await start(slack_world, markdown_text="text")
    assert (
        await error_of(slack_world.slack.chat_update(channel="C1", ts=ts, text="x"))
        == "streaming_state_conflict"
    )
    await slack_world.sim("stop", user="U1", channel="C1", thread_ts=root)
    more = slack_world.slack.chat_appendStream(channel="C1", ts=ts, markdown_text="more")
    assert await error_of(more) == "stopped_by_user"
    assert (await slack_world.slack.chat_update(channel="C1", ts=ts, text="final"))["text"] == "final"


async def test_a_message_that_is_no_stream_takes_no_content(slack_world: World) -> None:
    theirs = await slack_world.say("x")
    ours = (await slack_world.slack.chat_postMessage(channel="C1", text="x"))["ts"]
    for ts, error in (
        (theirs, "message_not_owned_by_app"),
        (ours, "message_not_in_streaming_state"),
        ("1.000001", "message_not_found"),
    ):
        append = slack_world.slack.chat_appendStream(channel="C1", ts=ts, markdown_text="x")
        assert await error_of(append) == error


async def test_a_stream_dies_after_five_minutes_even_while_it_is_appended_to() -> None:
    clock = HeldClock()
    async with world(Simulator(clock=clock)) as here:
        root, ts = await start(here, markdown_text="a")
        for _ in range(2):
            clock.time += 149
            await here.slack.chat_appendStream(channel="C1", ts=ts, markdown_text="b")
        clock.time += 2
        late = here.slack.chat_appendStream(channel="C1", ts=ts, markdown_text="c")
        assert await error_of(late) == "message_not_in_streaming_state"
        message = await streamed(here, root)
        assert (message["text"], message["streaming_state"]) == ("abb", "errored")
        assert (await here.slack.chat_update(channel="C1", ts=ts, text="whole"))["text"] == "whole"


async def test_the_time_scale_shortens_a_streams_life() -> None:
    async with world(Simulator(time_scale=0.0001)) as here:
        root, _ = await start(here, markdown_text="a")
        deadline = here.simulator.workspace.clock.now() + 5
        while (await streamed(here, root))["streaming_state"] != "errored":
            assert here.simulator.workspace.clock.now() < deadline
