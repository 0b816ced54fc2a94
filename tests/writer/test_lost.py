"""Streams whose beginning Slack did not confirm: each is ended with its own turn, and takes nothing from the next one."""

import pytest

from services.ingress.writer.app import Writer
from services.runtime.bus import Bus

from .conftest import Session, Slack, ended_once, finals, kinds, ours, signs, slow_start, streaming


async def next_turn_while_the_end_waits(
    session: Session, slack: Slack, method: str = "chat.postMessage"
) -> None:
    """The turn ends, Slack puts off the `method` by which it says so, and the next turn begins to show `Two. `."""
    await slack.fault(method, status=429, retry_after=1)
    await session.end("One. Two. And so on.")
    await slack.until_called(method, lambda call: call["status"] == 429)
    ts, session.turn = await session.reply("and two?")
    await session.start()
    await session.until(lambda t: signs(t, ts) == {"gear"})
    session.offset = 0
    await session.delta("Two. ")
    await slack.until_called("chat.startStream", lambda call: "Two." in str(call))


async def test_a_stream_that_is_just_beginning_is_not_taken_for_a_lost_one(
    bus: Bus, slack: Slack, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await slack.fault("chat.startStream", lose_reply=True)
    session = await streaming(bus, slack, "One.")
    slow_start(monkeypatch)

    await next_turn_while_the_end_waits(session, slack)

    final = await ended_once(session, "Two. Three.")
    assert final["streaming_state"] == "completed"
    seen = await session.until(lambda t: not kinds(t, "controls"))
    assert {m["text"] for m in ours(seen) if m["text"]} == {"One. Two. And so on.", "Two. Three."}


@pytest.mark.parametrize(
    ("first_loses", "ends_by"),
    [("chat.startStream", "chat.postMessage"), ("chat.postMessage", "chat.stopStream")],
)
async def test_a_lost_stream_is_ended_with_its_own_turn(
    bus: Bus, slack: Slack, writer: Writer, first_loses: str, ends_by: str
) -> None:
    await slack.fault(first_loses, lose_reply=True)
    session = await streaming(bus, slack, "One.")
    first = session.turn
    await session.until(lambda t: kinds(t, "controls"))
    await slack.fault("chat.startStream", lose_reply=True)

    await next_turn_while_the_end_waits(session, slack, ends_by)
    await session.until(
        lambda t: (
            finals(t, first)
            and kinds(t, "controls")
            and not any(m["text"] == "One." and m.get("streaming_state") == "in_progress" for m in ours(t))
        )
    )

    await ended_once(session, "Two. Three.")
    ended = [
        call["args"]["metadata"] for call in await slack.calls("chat.stopStream") if call["status"] == 200
    ]
    assert [each["event_payload"]["turn"] for each in ended] == [first, session.turn]


async def test_what_a_turn_tidies_up_is_not_the_next_ones_stop_button(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    await slack.fault("chat.startStream", lose_reply=True)
    session = await streaming(bus, slack, "One.")
    first = session.turn

    await next_turn_while_the_end_waits(session, slack)
    await session.until(lambda t: finals(t, first) and not any(m["text"] == "One." for m in kinds(t, "live")))
    controls = kinds(await session.until(lambda t: kinds(t, "controls")), "controls")[0]["ts"]
    await session.delta("Three.")
    deleted = {call["args"]["ts"] for call in await slack.calls("chat.delete")}
    assert controls not in deleted

    await ended_once(session, "Two. Three.")


async def test_a_lost_stream_of_other_words_than_the_ends_streams_no_longer(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    await slack.fault("chat.startStream", lose_reply=True)
    session = await streaming(bus, slack, "A draft.")
    await session.end("Done.")
    await session.until(
        lambda t: (
            finals(t, session.turn) and not any(m.get("streaming_state") == "in_progress" for m in ours(t))
        )
    )
