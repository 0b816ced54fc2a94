"""What no worker of ours would say: the thread shows the rest, and the next turn's answer comes."""

import contextlib

from hypothesis import HealthCheck, given, settings

from schemas.base import MalformedMessage
from schemas.ends import ENDS
from schemas.events import EVENTS, TurnStarted
from schemas.inputs import INPUTS
from schemas.keys import SessionKey
from schemas.live import LIVES, TextDelta
from services.ingress.writer.app import Writer
from services.ingress.writer.metrics import GIVEN_UP
from services.ingress.writer.view import View
from services.runtime.bus import Bus
from tests.mutations import strangers
from tests.writer.conftest import Slack, words

SHOWN = {"in": INPUTS, "out": EVENTS, "end": ENDS}
FEW = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(strangers("in", "out", "end", "live"))
def test_no_message_breaks_what_a_thread_should_show(written: list[tuple[str, bytes]]) -> None:
    view = View(SessionKey("T1", "C1", "1-1"))
    for place, (leaf, payload) in enumerate(written, 1):
        with contextlib.suppress(MalformedMessage):
            if leaf == "live":
                view.hear(LIVES.decode(payload))
            else:
                view.fold(place, SHOWN[leaf].decode(payload))
    assert view.status is not None


@FEW
@given(written=strangers("out", "live"))
async def test_a_turn_among_strange_messages_gets_its_answer(
    bus: Bus, slack: Slack, writer: Writer, written: list[tuple[str, bytes]]
) -> None:
    session = await slack.session(bus)
    await session.start()
    for leaf, payload in written:
        if leaf == "live":
            await bus.client.publish(TextDelta.subject(session.key), payload)
        else:
            await bus.publish_raw(f"session.{session.key}.out", payload, {})
    session.out = 0
    await session.text("all is well")
    await session.end("all is well")
    assert "all is well" in str(await session.final())


async def test_a_start_of_another_turn_takes_no_answer_for_itself(
    bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await slack.session(bus)
    await session.start()
    other = TurnStarted(turn=999, attempt=1, worker="w1", agent="claude", resumed=False, warm=True)
    await session.put(other)
    await session.end("all is well")
    assert "all is well" in words(await session.final())


async def test_what_is_live_and_unreadable_is_counted(bus: Bus, slack: Slack, writer: Writer) -> None:
    before = GIVEN_UP.labels("live", "malformed")._value.get()
    session = await slack.session(bus)
    for subject in (TextDelta.subject(session.key), "live.nobody", "live.ü.C1.1-1"):
        await bus.client.publish(subject, b"{")
    await session.start()
    await session.end("done")
    await session.final()
    assert GIVEN_UP.labels("live", "malformed")._value.get() == before + 3
