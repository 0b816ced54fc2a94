"""What a person sees while a turn goes its way."""

from services.ingress.writer.app import Writer
from services.runtime.bus import Bus

from .conftest import Slack, finals, kinds, ours, signs, words


async def test_a_message_gets_its_sign_and_status_at_once(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)

    seen = await session.until(lambda t: t["status"] and t["session_status"] and signs(t))

    assert (signs(seen), seen["status"], seen["session_status"]) == ({"eyes"}, "is thinking...", "processing")


async def test_a_short_turn_ends_in_one_message(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    await session.text("The answer is **42**.")
    await session.end("The answer is **42**.", cost_usd=0.12, duration_ms=2500, branch="threadmill/x")

    final = await session.final()
    seen = await session.until(lambda t: signs(t) == {"white_check_mark"} and t["session_status"] == "active")

    assert "The answer is **42**." in final["text"]
    assert all(fact in words(final) for fact in ("Done", "$0.12", "2.5 s", "threadmill/x"))
    assert len(finals(seen, session.turn)) == 1
    assert seen["status"] is None
    assert final["metadata"]["event_payload"]["session"] == str(session.key)


async def test_text_is_live_and_the_stream_becomes_the_final_message(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    await session.delta("Let me ")
    await session.until(lambda t: any("Let me" in m["text"] for m in ours(t)), "the first words")
    await session.delta("look.")
    await session.until(lambda t: any("Let me look." in m["text"] for m in ours(t)), "more words")
    await session.text("Let me look.")
    await session.end("Let me look.")

    final = await session.final()

    assert final["streaming_state"] == "completed"
    assert final["text"] == "Let me look."
    thread = await session.until(lambda t: not kinds(t, "controls"))
    assert ours(thread) == [final]
