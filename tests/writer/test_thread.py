"""Everything else that a thread shows: cards, questions, notices, files, stops, refusals, long answers."""

import msgspec
import pytest

from schemas import events
from schemas.base import now
from schemas.inputs import Continued, Stop, Withdrawn
from schemas.keys import ts_token
from schemas.live import ResourceSample, Status
from schemas.people import File, Person
from services.ingress import buttons
from services.ingress.writer.app import Writer
from services.local.slack.blocks import interactive_elements
from services.runtime.bus import Bus
from services.runtime.files import Files

from .conftest import ADA, Json, Session, Slack, finals, kinds, ours, signs, words


def pressable(message: Json) -> dict[str, Json]:
    return {element["action_id"]: element for _, element in interactive_elements(message["blocks"])}


async def started(bus: Bus, slack: Slack) -> Session:
    session = await slack.session(bus)
    await session.start()
    return session


async def test_tool_calls_are_cards_that_change_in_place(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.put(
        events.ToolStarted(turn=session.turn, call="t1", name="Bash", title="Run the tests", detail="pytest")
    )
    await session.until(lambda t: '"in_progress"' in str(t).replace("'", '"') and "Run the tests" in str(t))
    await session.put(
        events.ToolFinished(turn=session.turn, call="t1", ok=False, duration_ms=5, output="1 failed " * 99)
    )
    await session.put(
        events.PlanUpdated(turn=session.turn, steps=(events.PlanStep(text="Fix it", status="in_progress"),))
    )
    await session.put(
        events.CommitPushed(turn=session.turn, branch="b", sha="0123456789", title="Fix", files=1)
    )
    await session.end("Fixed.")

    blocks = (await session.final())["blocks"]
    cards = {block["task_id"]: block for block in blocks if block["type"] == "task_card"}

    assert (cards["t1"]["status"], cards["t1"]["title"]) == ("error", "Run the tests")
    assert cards["step-0"]["status"] == "pending", "nobody works on it any more"
    assert cards["commit-0123456789"]["title"] == "Pushed 0123456 to b"
    assert next(block for block in blocks if block["type"] == "plan")["title"] == "Plan, 0 of 1 done: Fix it"


async def test_the_stored_block_repairs_what_deltas_missed(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.until(lambda t: signs(t) == {"gear"})
    await session.delta("One ")
    await session.delta("three", offset=8)
    await session.delta("stale", offset=4, block=3)
    await session.text("One two three.")
    await session.text("And four.", block=1)
    await session.end("And four.")

    assert (await session.final())["text"] == "One two three.\n\nAnd four."


async def test_deltas_of_an_older_lease_are_dropped(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.until(lambda t: signs(t) == {"gear"})
    session.lease = 6
    await session.delta("From the dead. ")
    session.lease = 7
    session.offset = 0
    await session.delta("Alive.")
    await session.until(lambda t: any("Alive." in m["text"] for m in ours(t)))
    await session.text("Alive.")
    await session.end("Alive.")

    assert (await session.final())["text"] == "Alive."


async def test_a_running_turn_has_controls_that_go_with_it(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    seen = await session.until(lambda t: kinds(t, "controls"))
    buttons_shown = pressable(kinds(seen, "controls")[0])
    assert buttons.read(buttons.STOP, buttons_shown[buttons.STOP]["value"]).key == session.key
    assert buttons.DETAILS in buttons_shown

    await session.end("Done.")

    await session.until(lambda t: finals(t, session.turn) and not kinds(t, "controls"))


async def test_the_last_sample_answers_for_details(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    for memory in (100, 200):
        sample = ResourceSample(lease=7, turn=session.turn, cpu=0.5, memory=memory, seconds_left=60)
        await bus.live(ResourceSample.subject(session.key), sample)
    await session.until(lambda _: (last := writer.samples.last(session.key)) and last.sample.memory == 200)


async def test_a_live_status_is_shown_and_waiting_is_told(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await session.until(lambda t: t["status"] == "is thinking...")
    waiting = Status(lease=0, turn=session.turn, text="is waiting for a free worker (2nd in line)")
    await bus.live(Status.subject(session.key), waiting)
    await session.until(lambda t: t["status"] == "is waiting for a free worker (2nd in line)")
    await session.start()
    await session.until(lambda t: t["status"] == "is working...")
    await bus.live(Status.subject(session.key), msgspec.structs.replace(waiting, text="is late"))
    await session.end("ok")
    await session.until(lambda t: t["status"] is None and t["session_status"] == "active")


async def test_a_question_is_pressed_and_then_says_who_answered(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    asked = events.QuestionAsked(
        turn=session.turn,
        id="q1",
        about="permission",
        title="Run rm <b>",
        detail="rm -r build",
        choices=("allow_once", "allow_session", "deny"),
    )
    await session.put(asked)
    seen = await session.until(
        lambda t: kinds(t, "question") and t["session_status"] == "suspended" and t["status"] is None
    )
    question = kinds(seen, "question")[0]
    labels = [element["text"]["text"] for element in pressable(question).values()]
    assert labels == ["Allow once", "Allow for this session", "Deny"]
    pressed = pressable(question)[f"{buttons.ANSWER}2"]
    assert buttons.read(pressed["action_id"], pressed["value"]).choice == "deny"

    await session.put(
        events.QuestionClosed(turn=session.turn, id="q1", by=Person(id="U2"), choice="deny", text="too risky")
    )

    seen = await session.until(
        lambda t: not pressable(kinds(t, "question")[0]) and t["session_status"] == "processing"
    )
    assert "<@U2> answered *Deny: too risky*" in words(kinds(seen, "question")[0])
    await session.end("As you wish.")
    await session.final()


async def test_a_question_lapses_with_its_turn(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.put(
        events.QuestionAsked(turn=session.turn, id="q1", about="plan", title="Ok?", detail="# Plan")
    )
    seen = await session.until(lambda t: kinds(t, "question"))
    assert [e["text"]["text"] for e in pressable(kinds(seen, "question")[0]).values()] == [
        "Approve",
        "Request changes",
    ]
    await session.end(outcome="timed_out", reason="60 minutes are over")

    seen = await session.until(
        lambda t: finals(t, session.turn) and "Not answered" in words(kinds(t, "question")[0])
    )
    assert "The turn ran out of time: 60 minutes are over." in finals(seen, session.turn)[0]["text"]
    await session.until(lambda t: signs(t) == {"hourglass"} and t["session_status"] == "active")


async def test_a_choice_too_long_for_a_button_can_still_be_written(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    choices = ("short", "x" * 3000, *(f"c{n}" for n in range(30)))
    await session.put(
        events.QuestionAsked(turn=session.turn, id="q1", about="choice", title="Which?", choices=choices)
    )
    question = kinds(await session.until(lambda t: kinds(t, "question")), "question")[0]
    assert len(pressable(question)) == 24
    assert "Or answer in this thread." in words(question)


async def test_warnings_stand_in_the_thread_and_infos_under_the_answer(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    await session.put(
        events.Notice(turn=session.turn, level="warning", text="The time is nearly over & <out>.")
    )
    await session.put(events.Notice(turn=session.turn, text="The model was asked again."))
    seen = await session.until(lambda t: kinds(t, "notice"))
    assert "The time is nearly over &amp; &lt;out&gt;." in words(kinds(seen, "notice")[0])
    await session.end("ok", state_complete=False)
    final = await session.final()
    assert "The model was asked again." in words(final)
    assert "Not everything of this turn could be saved" in words(final)
    assert len(kinds(await session.thread(), "notice")) == 1


async def test_a_file_of_the_agent_comes_into_the_thread(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    name = f"{session.key}/f1"
    await Files(bus).put(name, b"col\n" + b"xoxb-1234567890-secret")
    file = File(object=name, name="report.csv", media_type="text/csv", size=26)
    await session.put(events.FileShared(turn=session.turn, file=file))
    seen = await session.until(lambda t: any(m.get("files") for m in ours(t)))
    shared = next(m["files"][0] for m in ours(seen) if m.get("files"))
    assert shared["name"] == "report.csv"
    assert slack.simulator._contents.get(shared["id"]) == b"col\n[redacted]"


async def test_a_worker_shows_no_file_of_another_session(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    foreign = f"{session.key}9/f1"
    await Files(bus).put(foreign, b"not yours")
    file = File(object=foreign, name="report.csv", media_type="text/csv", size=9)
    await session.put(events.FileShared(turn=session.turn, file=file))
    await session.end("done")
    await session.final()
    assert not any(message.get("files") for message in ours(await session.thread()))


async def test_after_a_stop_the_thread_says_what_was_done_and_offers_to_go_on(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    await session.put(events.ToolStarted(turn=session.turn, call="t1", name="Edit", title="Edit a.py"))
    await session.text("I began.")
    later, _ = await session.reply("and then this")
    await session.until(lambda t: signs(t, later) == {"eyes"})
    await session.put(Stop(user=ADA))
    await session.end(outcome="cancelled")

    final = await session.final()
    assert "**Stopped** after 1 tool call and 0 commits." in final["text"]
    assert "I began." in final["text"]
    assert final["text"].count("I began.") == 1
    assert buttons.CONTINUE in pressable(final)
    assert "1 message waits." in words(final)
    await session.until(lambda t: signs(t) == {"octagonal_sign"} and t["session_status"] == "active")
    await session.put(Continued(id="a-1", user=ADA))
    await session.until(lambda t: t["session_status"] == "processing")


@pytest.mark.parametrize("outcome", ["cancelled", "timed_out", "completed"])
async def test_who_stopped_is_offered_to_go_on_however_the_turn_ended_and_whether_the_log_has_the_stop(
    bus: Bus, slack: Slack, writer: Writer, outcome: str
) -> None:
    session = await started(bus, slack)
    await session.reply("and then this")
    await session.end("so far", outcome=outcome, pressed_at=now())
    assert buttons.CONTINUE in pressable(await session.final())


async def test_what_waits_behind_a_turn_that_was_refused_is_offered_to_go_on_too(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await slack.session(bus)
    await session.reply("and then this")
    await session.put(Stop(user=ADA))
    await session.end(outcome="rejected", reason="You may start 5 turns in 15 minutes, and did.")
    [notice] = kinds(await session.until(lambda t: kinds(t, "notice"), "how many messages wait"), "notice")
    assert "1 message waits." in words(notice)
    assert buttons.CONTINUE in pressable(notice)


async def test_what_a_stop_between_two_turns_lets_wait_is_offered_to_go_on(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    await session.end("done")
    await session.final()
    await session.reply("and then this")
    await session.put(Stop(user=ADA))
    await session.put(events.Paused())
    [notice] = kinds(await session.until(lambda t: kinds(t, "notice"), "how many messages wait"), "notice")
    assert "1 message waits." in words(notice)
    assert buttons.CONTINUE in pressable(notice)


async def test_what_was_said_after_a_stop_waits_for_nobody(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    pressed = now()
    await session.reply("rather this")
    await session.end(outcome="cancelled", pressed_at=pressed)
    final = await session.final()
    assert buttons.CONTINUE not in pressable(final)
    assert "waits" not in words(final)


async def test_a_message_taken_by_the_running_turn_shares_its_signs(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    ts, sequence = await session.reply("also this")
    await session.until(lambda t: signs(t, ts) == {"eyes"})
    await session.put(events.InputTaken(turn=session.turn, sequence=sequence, id=ts_token(ts)))
    await session.until(lambda t: signs(t, ts) == {"gear"})
    await session.end("both", inputs=(session.turn, sequence))
    await session.until(lambda t: signs(t, ts) == signs(t) == {"white_check_mark"})


async def test_a_withdrawn_message_leaves_nothing_behind(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus)
    await session.until(lambda t: t["session_status"] == "processing")
    of = ts_token(session.key.thread_ts)
    await session.put(Withdrawn(id=f"d-{of}", user=ADA, of=of))
    await session.until(lambda t: t["session_status"] == "active" and t["status"] is None)


async def test_who_is_over_the_limit_is_told_alone_when_to_come_back(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await slack.session(bus)
    at = now()
    await session.end(outcome="rejected", reason="5 turns in 15 minutes are the limit", retry_at=at)
    seen = await session.until(lambda t: ours(t) and signs(t) == {"x"})
    told = ours(seen)
    assert [m.get("is_ephemeral") for m in told] == [True]
    assert told[0]["text"].startswith(
        "5 turns in 15 minutes are the limit. You can start the next one <!date^"
    )
    assert f"{at:%Y-%m-%d %H:%M} UTC>" in told[0]["text"]
    assert seen["session_status"] == "active"


async def test_a_failure_says_why(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.end(outcome="failed", reason="The agent died three times.")
    assert "**The turn failed: The agent died three times.**" in (await session.final())["text"]


async def test_a_long_answer_is_split_and_a_very_long_one_is_a_file(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await started(bus, slack)
    answer = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(100))
    await session.end(answer)
    final = await session.final()
    parts = [*kinds(await session.thread(), "part"), final]
    assert len(parts) == 3
    assert "\n\n".join(part["text"] for part in parts).split() == answer.split()

    other = await started(bus, slack)
    endless = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(400))
    await other.end(endless)
    final = await other.final()
    assert final["text"].endswith("_The whole answer is in the file above._")
    file = next(m["files"][0] for m in ours(await other.thread()) if m.get("files"))
    assert slack.simulator._contents.get(file["id"]) == endless.strip().encode()


async def test_a_direct_message_streams_as_well(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await slack.session(bus, channel="D1")
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    await session.delta("Hi.")
    await session.until(lambda t: any(m.get("streaming_state") == "in_progress" for m in ours(t)))
    await session.text("Hi.")
    await session.end("Hi.")
    assert (await session.final())["streaming_state"] == "completed"


async def test_no_credential_is_shown_in_a_stream(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.until(lambda t: signs(t) == {"gear"})
    secret = "ghp_" + "Z" * 36
    text = f"Your token is {secret}, keep it."
    for place in range(0, len(text), 7):
        await session.delta(text[place : place + 7], offset=place)
    await session.until(lambda t: any("keep it" in m["text"] for m in ours(t)))
    await session.text(text)
    await session.end(text)
    assert (await session.final())["text"] == "Your token is [redacted], keep it."
    assert secret not in str(await slack.calls())
    assert "ghp_" not in str(await slack.calls())


async def test_the_next_turn_in_the_same_thread(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.end("one")
    await session.final()
    ts, session.turn = await session.reply("more")
    await session.until(lambda t: signs(t, ts) == {"eyes"})
    await session.start()
    await session.end("two")
    assert (await session.final())["text"] == "two"
    await session.until(lambda t: signs(t, ts) == {"white_check_mark"})


async def test_the_session_gets_its_title(bus: Bus, slack: Slack, writer: Writer) -> None:
    session = await started(bus, slack)
    await session.until(lambda t: t["session_status"] == "processing")
    await session.put(events.Titled(turn=session.turn, title="Fix the parser"))
    await session.until(lambda t: t["session_title"] == "Fix the parser")
