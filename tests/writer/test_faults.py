"""Slack refuses, is away, loses answers, lets streams die: live text may suffer, the final message never."""

import asyncio
import time

import msgspec
import pytest

from schemas import events
from services.ingress.writer import marks, partition, settling
from services.ingress.writer.app import Writer
from services.runtime.bus import Bus

from .conftest import (
    FAST,
    Slack,
    ended_once,
    finals,
    kinds,
    ours,
    place_after,
    signs,
    streaming,
    words,
    writing,
)


async def test_too_fast_is_too_fast_for_as_long_as_slack_says(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await slack.fault("chat.postMessage", status=429, retry_after=2)
    began = time.monotonic()

    await ended_once(session, "Late but there.", live=False)

    calls = await slack.calls("chat.postMessage")
    assert [call["status"] for call in calls] == [429, 200]
    assert calls[1]["at"] - calls[0]["at"] >= 2
    assert time.monotonic() - began < 10


async def test_a_channel_that_must_wait_keeps_no_other_waiting(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    slow = await slack.session(bus, channel="C1")
    quick = await slack.session(bus, channel="C2")
    await slack.fault("chat.postMessage", status=429, retry_after=12)
    await slow.end("slow")
    await slack.until_called("chat.postMessage", lambda call: call["status"] == 429)
    began = time.monotonic()
    await quick.end("quick")

    await quick.final()

    assert time.monotonic() - began < 10
    assert not finals(await slow.thread(), slow.turn)
    await slow.final()


@pytest.mark.parametrize("status", [500, 503])
async def test_slack_is_broken_for_a_while(bus: Bus, slack: Slack, writer: Writer, status: int) -> None:
    session = await slack.session(bus)
    await slack.fault("chat.postMessage", status=status, times=2)

    await ended_once(session, "There it is.", live=False)


async def test_everything_is_broken_for_a_while(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await slack.fault("*", status=500, times=12)
    await session.start()

    await ended_once(session, "After the storm.")


@pytest.mark.parametrize(
    "method", ["chat.postMessage", "chat.startStream", "chat.appendStream", "chat.stopStream"]
)
async def test_a_lost_answer_doubles_nothing(bus: Bus, slack: Slack, writer: Writer, method: str) -> None:
    await slack.fault(method, lose_reply=True)
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    if method != "chat.postMessage":
        await session.delta("One. ")
        await session.until(lambda t: any("One." in m["text"] for m in ours(t)))
        await session.delta("Two. ")
    if method == "chat.appendStream":
        await slack.until_called(method)

    await ended_once(session, "One. Two. Three.", live=method != "chat.postMessage")

    lost = [call for call in await slack.calls(method) if call.get("reply_lost")]
    assert len(lost) == 1


async def test_lost_controls_do_not_stay(
    bus: Bus, slack: Slack, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "RETRY_SECONDS", 0.0)
    await slack.fault("chat.postMessage", lose_reply=True)
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: kinds(t, "controls"))

    await ended_once(session, "Done.")

    await session.until(lambda t: not kinds(t, "controls"))


async def test_a_stream_that_dies_costs_live_text_only(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await streaming(bus, slack)
    stream = next(m for m in ours(await session.thread()) if m.get("streaming_state"))
    slack.simulator.workspace.message("C1", stream["ts"]).stream.state = "errored"  # type: ignore[union-attr]  # it streams
    await session.delta("More.")
    await session.until(lambda t: any("More." in m["text"] for m in ours(t)), "a new stream with the tail")

    final = await ended_once(session, "Working. More.")

    assert "streaming_state" not in final


async def test_a_stream_that_is_full_is_ended_before_the_next_begins(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await streaming(bus, slack)
    await slack.fault("chat.appendStream", error="msg_too_long")
    await session.delta("More. ")
    await session.until(
        lambda t: (
            [m.get("streaming_state") for m in ours(t) if m.get("streaming_state")]
            == ["completed", "in_progress"]
        )
    )
    await ended_once(session, "Working. More.")


async def test_a_person_who_stops_the_stream_gets_the_end_as_a_message(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await streaming(bus, slack)
    await slack.sim("stop", user="U1", channel="C1", thread_ts=session.key.thread_ts)
    await session.delta("More.")
    await session.end(outcome="cancelled")

    final = await session.final()

    assert "**Stopped**" in final["text"]
    assert "Working. More." in final["text"]


async def test_a_stream_that_a_person_stopped_is_not_stopped_again(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await streaming(bus, slack)
    await slack.sim("stop", user="U1", channel="C1", thread_ts=session.key.thread_ts)
    await session.end(outcome="cancelled")
    await session.final()
    # What the writer does for the next turn comes after all that it does for this one.
    _, session.turn = await session.reply("go on")
    await session.start()
    await session.end("Done.")
    await session.final()

    refused = [call for call in await slack.calls("chat.stopStream") if call.get("error")]
    assert [call["error"] for call in refused] == ["stopped_by_user"]


async def test_streams_rotate_before_slack_ends_them(bus: Bus, slack: Slack) -> None:
    async with writing(bus, slack, msgspec.structs.replace(FAST, rotate_after=0.4)):
        session = await streaming(bus, slack, "Look:\n\n```python\na = 1\n")
        await session.until(lambda t: [m.get("streaming_state") for m in kinds(t, "live")] == ["completed"])
        await session.delta("b = 2\n```")
        seen = await session.until(lambda t: any("b = 2" in m["text"] for m in ours(t)))

        streams = [m["text"] for m in ours(seen) if m.get("streaming_state")]
        assert streams[0].endswith("a = 1\n\n```")
        assert streams[1].startswith("```python\nb = 2")
        final = await ended_once(session, "Look:\n\n```python\na = 1\nb = 2\n```")
        assert "streaming_state" not in final


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long"])
async def test_what_slack_does_not_take_goes_out_smaller(
    bus: Bus, slack: Slack, writer: Writer, error: str
) -> None:
    await slack.fault("chat.postMessage", error=error)
    session = await slack.session(bus)
    await session.end("The **answer**.")

    final = await session.final()

    assert final["text"] == "The **answer**."
    assert [block["type"] for block in final["blocks"]] == ["markdown"]


async def test_and_at_last_as_a_file(bus: Bus, slack: Slack, writer: Writer) -> None:
    await slack.fault("chat.postMessage", error="msg_too_long", times=2)
    session = await slack.session(bus)
    await session.end("The **answer**.")

    final = await session.final()

    file = next(m["files"][0] for m in ours(await session.thread()) if m.get("files"))
    assert slack.simulator._contents.get(file["id"]) == b"The **answer**."
    assert "in the file above" in final["text"]


@pytest.mark.parametrize("method", ["chat.startStream", "chat.stopStream", "chat.appendStream"])
async def test_streams_that_slack_refuses_are_done_without(
    bus: Bus, slack: Slack, writer: Writer, method: str
) -> None:
    await slack.fault(method, error="invalid_arguments")
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    for word in ("One. ", "Two. "):
        await session.delta(word)
        await asyncio.sleep(FAST.append_every * 2)

    await ended_once(session, "One. Two. Three.")


@pytest.mark.parametrize("error", ["channel_not_found", "is_archived", "not_in_channel"])
async def test_a_channel_that_is_gone_blocks_nobody(
    bus: Bus, slack: Slack, writer: Writer, error: str
) -> None:
    await slack.fault("chat.postMessage", error=error)
    lost = await slack.session(bus, channel="C1")
    lost_end = await lost.end("nobody reads this")
    await slack.until_called("chat.postMessage")
    session = await slack.session(bus, channel="C1")

    await ended_once(session, "Somebody reads this.")

    await place_after(bus, lost, lost_end)


async def test_a_bot_that_is_let_in_again_shows_the_next_turn(bus: Bus, slack: Slack, writer: Writer) -> None:
    await slack.fault("chat.postMessage", error="not_in_channel")
    session = await slack.session(bus)
    await session.start()
    await session.put(events.Notice(turn=session.turn, level="warning", text="nobody reads this"))
    await slack.until_called("chat.postMessage")
    await place_after(bus, session, await session.end("nor this"))

    _, session.turn = await session.reply("are you there?")
    await session.start()

    await session.text("I am.")
    await session.end("I am.")
    assert (await session.final())["text"] == "I am."


async def test_reactions_that_fail_spoil_nothing(bus: Bus, slack: Slack, writer: Writer) -> None:
    await slack.fault("reactions.*", error="too_many_emoji", times=50)
    session = await slack.session(bus)
    await session.start()
    await session.end("fine")

    assert (await session.final())["text"] == "fine"


async def test_signs_that_slack_puts_off_hold_up_the_place_for_a_moment_only(
    bus: Bus, slack: Slack, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "HOLD_SECONDS", 0.3)
    await slack.fault("reactions.add", status=429, retry_after=3_600)
    session = await slack.session(bus)
    await session.start()
    end = await session.end("fine")

    assert (await session.final())["text"] == "fine"
    await place_after(bus, session, end)
    assert not signs(await session.thread())


async def test_a_poisonous_event_is_passed_over(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await session.start()
    await bus.publish_raw(f"session.{session.key}.out", b'{"kind":"text-block","turn":"nonsense"}', {})
    await bus.publish_raw(f"session.{session.key}.out", b"\xff\x00", {})
    await bus.publish_raw("session.-x.C1.1-1.in.1-1", b"{}", {})

    await ended_once(session, "fine")


async def test_many_turns_at_once_all_end(bus: Bus, slack: Slack, writer: Writer) -> None:
    sessions = [await slack.session(bus, channel=f"C{1 + n % 2}") for n in range(10)]
    for session in sessions:
        await session.start()
    for session in sessions:
        await session.text(f"Answer {session.turn}.")
        await session.end(f"Answer {session.turn}.")

    for session in sessions:
        final = await session.final()
        assert f"Answer {session.turn}." in final["text"]
        assert len(finals(await session.thread(), session.turn)) == 1


async def test_a_question_survives_a_refusal_and_its_answer_too(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await streaming(bus, slack)
    await slack.fault("chat.postMessage", status=500)
    await slack.fault("chat.update", status=500)
    await session.put(
        events.QuestionAsked(turn=session.turn, id="q", about="choice", title="A or B?", choices=("A", "B"))
    )
    await session.put(events.QuestionClosed(turn=session.turn, id="q", choice="A"))

    seen = await session.until(
        lambda t: kinds(t, "question") and "Not answered" in words(kinds(t, "question")[0])
    )

    assert len(kinds(seen, "question")) == 1
    await ended_once(session, "A it is.")


async def test_what_is_too_much_at_once_waits_in_the_log(
    bus: Bus, slack: Slack, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "MOST_HELD", 2)
    await slack.fault("chat.postMessage", status=503, times=3)
    sessions = [await slack.session(bus, channel="C1") for _ in range(8)]
    for session in sessions:
        await session.end(f"Answer {session.turn}.")

    for session in sessions:
        assert (await session.final())["text"] == f"Answer {session.turn}."
        assert len(finals(await session.thread(), session.turn)) == 1
