"""What people press: answers, stops, continues, details; only by those who may, only with buttons of ours."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import now
from schemas.inputs import Answered, Continued, Said, Stop
from schemas.keys import SessionKey, ts_token
from schemas.live import ResourceSample
from schemas.operations import Audited
from schemas.people import Person
from services.ingress import buttons
from services.ingress.buttons import Button, InvalidButton, Pressed
from services.ingress.details import NOBODY, details
from services.ingress.writer.samples import Sampled, Samples
from services.local.broker import running_broker
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.follow import read
from services.runtime.topology import apply_map
from tests.ingress.stage import Door, Slack, eventually, running, stored


async def session(bus: Bus, slack: Slack) -> SessionKey:
    root = await slack.says("@threadmill fix it")
    await eventually(lambda: stored(bus))
    return SessionKey.of_thread("T1", "C1", root)


async def shown(slack: Slack, key: SessionKey, *rows: Button) -> str:
    """Post the buttons as the writer does, and return the message."""
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": "press"},
            "action_id": button.action_id,
            "value": button.value,
        }
        for button in rows
    ]
    async with slack.api() as api:
        posted = await api.call(
            "chat.postMessage",
            channel=key.channel,
            text="well?",
            thread_ts=key.thread_ts,
            blocks=[{"type": "actions", "elements": elements}],
        )
    return str(posted["ts"])


async def pressed(bus: Bus) -> list[object]:
    return [message for message in (await stored(bus)).values() if not isinstance(message, Said)]


async def test_an_answer_is_stored_with_who_and_what(bus: Bus, slack: Slack, ingress: Door) -> None:
    key = await session(bus, slack)
    choices = [
        buttons.answer(key, "q1", place, choice) for place, choice in enumerate(buttons.PERMISSION_CHOICES)
    ]
    message = await shown(slack, key, *choices)

    await slack.act("action", user="U2", channel="C1", message_ts=message, action_id="threadmill.answer.1")

    (answered,) = await eventually(lambda: pressed(bus))
    assert isinstance(answered, Answered)
    assert (answered.question, answered.choice) == ("q1", "allow_session")
    assert answered.user == Person(id="U2", name="grace"), "the press itself tells the name"


async def test_stop_and_continue(bus: Bus, slack: Slack, ingress: Door) -> None:
    key = await session(bus, slack)
    message = await shown(slack, key, buttons.stop(key), buttons.proceed(key))

    await slack.act("action", user="U1", channel="C1", message_ts=message, action_id=buttons.STOP)
    await eventually(lambda: pressed(bus))
    await slack.act("action", user="U1", channel="C1", message_ts=message, action_id=buttons.CONTINUE)

    async def both() -> list[object]:
        found = await pressed(bus)
        return found if len(found) == 2 else []

    assert {type(one) for one in await eventually(both)} == {Stop, Continued}
    await slack.settled()
    trail = [Audited.decode(delivery.data) for delivery in await read(bus, "AUDIT", ["audit.>"])]
    assert [(one.who, one.did, one.session) for one in trail] == [
        ("U1", "stopped", str(key)),
        ("U1", "continued", str(key)),
    ]


async def test_details_are_what_the_worker_said_last(bus: Bus, slack: Slack) -> None:
    samples = Samples()
    async with running(bus, slack, samples=samples):
        key = await session(bus, slack)
        message = await shown(slack, key, buttons.details(key))
        await slack.act("action", user="U1", channel="C1", message_ts=message, action_id=buttons.DETAILS)
        (nobody,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
        samples.note(
            key,
            ResourceSample(
                lease=1, turn=1, cpu=0.5, memory=2**28, memory_limit=2**30, disk_free=2**33, seconds_left=754
            ),
        )
        await slack.act("action", user="U2", channel="C1", message_ts=message, action_id=buttons.DETAILS)

        async def two() -> list[dict[str, object]]:
            calls = await slack.calls("chat.postEphemeral")
            return calls if len(calls) == 2 else []

        _, somebody = await eventually(two)
    assert "No worker is busy" in nobody["args"]["text"]
    assert somebody["args"]["text"] == (
        "The worker uses 0.5 CPU cores, 256 MB of 1,024 MB of memory. "
        "8.0 GB of its disk are free. The turn has 12 min 34 s left."
    )
    assert (nobody["args"]["user"], somebody["args"]["user"]) == ("U1", "U2")


def test_a_worker_that_is_silent_is_gone() -> None:
    sampled = Sampled(ResourceSample(lease=1, turn=1, cpu=0.5, memory=1), now() - timedelta(seconds=30))
    assert details(sampled, now()) == NOBODY


async def test_who_may_not_drive_may_not_press(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, access={"block_users": ["U2"]}):
        key = await session(bus, slack)
        message = await shown(slack, key, buttons.answer(key, "q1", 0, "allow_once"))
        await slack.act(
            "action", user="U2", channel="C1", message_ts=message, action_id="threadmill.answer.0"
        )
        calls = await eventually(lambda: slack.calls("chat.postEphemeral"))
        await slack.settled()
    assert "may not use this bot" in calls[0]["args"]["text"]
    assert await pressed(bus) == []


def interaction(action: dict[str, object], **more: object) -> bytes:
    payload = {
        "type": "block_actions",
        "user": {"id": "U1", "name": "ada", "team_id": "T1"},
        "team": {"id": "T1"},
        "channel": {"id": "C1", "name": "general"},
        "actions": [{"action_ts": f"{time.time():.6f}"} | action],
    }
    return urlencode({"payload": msgspec.json.encode(payload | more).decode()}).encode()


KEY = SessionKey("T1", "C1", "1700000000-000100")
ANSWER = msgspec.to_builtins(buttons.answer(KEY, "q1", 0, "deny"))


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ({"action_id": "threadmill.stop", "value": "nonsense"}, {}),
        ({"action_id": "threadmill.stop", "value": '{"k":"T1.C1"}'}, {}),
        ({"action_id": "threadmill.stop", "value": '{"k":"T1.C1.*"}'}, {}),
        ({"action_id": "threadmill.nothing", "value": buttons.stop(KEY).value}, {}),
        ({"action_id": "threadmill.answer.0", "value": buttons.stop(KEY).value}, {}),
        ({"action_id": "threadmill.answer.99", "value": ANSWER["value"]}, {}),
        (ANSWER, {"channel": {"id": "C2", "name": "backend"}}),
        (ANSWER, {"channel": None}),
        (ANSWER, {"actions": [ANSWER | {"action_ts": "now"}]}),
    ],
)
async def test_a_button_that_is_none_of_ours_is_refused(
    bus: Bus, slack: Slack, ingress: Door, action: dict[str, object], more: dict[str, object]
) -> None:
    status, answer = await slack.post(ingress, interaction(action, **more), "/slack/interactive")
    assert (status, "error" in msgspec.json.decode(answer)) == (400, True)
    assert await stored(bus) == {}


async def test_foreign_presses_are_acknowledged_and_ignored(bus: Bus, slack: Slack, ingress: Door) -> None:
    for body in (
        interaction({"action_id": "open_link"}),
        interaction(ANSWER, user={"id": "U9", "team_id": "T9"}),
        interaction(ANSWER | {"action_ts": "1700000000.000100"}),
    ):
        assert (await slack.post(ingress, body, "/slack/interactive"))[0] == 200
    assert await stored(bus) == {}


async def test_a_press_that_comes_twice_counts_once(bus: Bus, slack: Slack, ingress: Door) -> None:
    for action in (ANSWER, msgspec.to_builtins(buttons.stop(KEY))):
        body = interaction(action)
        answers = await asyncio.gather(*(slack.post(ingress, body, "/slack/interactive") for _ in range(5)))
        assert {status for status, _ in answers} == {200}
    assert len(await stored(bus)) == 2


async def test_a_press_that_cannot_be_stored_is_told_to_be_pressed_again(
    slack: Slack, tmp_path: Path
) -> None:
    async with running_broker(tmp_path / "one") as broker:
        client = await open_connection(BusSettings(url=broker.url), "test", lambda: None)
        bus = Bus(client)
        await apply_map(bus)
        async with running(bus, slack) as door:
            await broker.stop()
            assert (await slack.post(door, interaction(ANSWER), "/slack/interactive"))[0] == 503
            (call,) = await eventually(lambda: slack.calls("chat.postEphemeral"))
        await close_connection(client)
    assert "press again" in call["args"]["text"]


tokens = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,20}[A-Za-z0-9])?", fullmatch=True)
keys = st.builds(SessionKey, tokens, tokens, tokens)


@given(keys, tokens, st.integers(0, 24), st.text(min_size=1, max_size=200))
def test_what_is_written_into_a_button_is_read_back(
    key: SessionKey, question: str, place: int, choice: str
) -> None:
    button = buttons.answer(key, question, place, choice)
    assert len(button.value) <= 2000
    assert buttons.read(button.action_id, button.value) == Pressed(
        what="answer", key=key, question=question, choice=choice
    )
    for make, what in ((buttons.stop, "stop"), (buttons.proceed, "continue"), (buttons.details, "details")):
        simple = make(key)
        assert buttons.read(simple.action_id, simple.value) == Pressed(what=what, key=key)


@given(
    st.text() | st.sampled_from(["threadmill.stop", "threadmill.answer.1", "threadmill.answer.²"]), st.text()
)
def test_no_other_text_is_a_button(action_id: str, value: str) -> None:
    with pytest.raises(InvalidButton):
        buttons.read(action_id, value)


def test_a_button_holds_only_what_slack_keeps() -> None:
    for place, choice in ((25, "x"), (-1, "x"), (0, ""), (0, "x" * 2000)):
        with pytest.raises(InvalidButton):
            buttons.answer(KEY, "q1", place, choice)


async def test_a_stop_button_stops_its_own_session(bus: Bus, slack: Slack, ingress: Door) -> None:
    assert (
        await slack.post(ingress, interaction(msgspec.to_builtins(buttons.stop(KEY))), "/slack/interactive")
    )[0] == 200
    (name,) = await stored(bus)
    assert name.startswith(f"{KEY}.control#")
    assert ts_token(KEY.thread_ts) == KEY.thread
