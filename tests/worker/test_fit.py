"""Whatever an agent says can be kept: texts of any length and any characters."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bus import MAX_PAYLOAD
from schemas.ends import TurnEnd
from schemas.events import PlanStep, PlanUpdated, TextBlock, ToolFinished
from schemas.people import Person
from schemas.state import StateAppended
from services.runtime.fit import MOST_BYTES, MOST_CHARACTERS, fitting
from services.worker.agents.protocol import Finished
from services.worker.core import Attempted, Waiting
from services.worker.state import Conversations, _split
from services.worker.tally import Ending, Tally
from tests.worker.test_core import said

anything = st.text(st.characters(exclude_categories=()), max_size=50)


@given(anything, anything)
def test_any_text_can_be_sent_and_read_again(title: str, output: str) -> None:
    for message in (
        TextBlock(block=0, text=title),
        ToolFinished(call=title, ok=True, duration_ms=1, output=output),
        PlanUpdated(steps=(PlanStep(text=output, status="pending"),)),
    ):
        fit = fitting(message)
        assert type(message).decode(fit.encode()) == fit


@pytest.mark.parametrize("letter", ["x", "\x00", "ü", "\U0001f600", "\ud800"], ids=ascii)
def test_a_text_that_is_too_long_is_cut_and_says_so(letter: str) -> None:
    fit = fitting(TextBlock(block=3, text=letter * 3_000_000))
    assert len(fit.encode()) <= MOST_BYTES < MAX_PAYLOAD
    assert fit.block == 3
    assert "shortened" in fit.text


def test_what_fits_is_left_alone() -> None:
    end = TurnEnd(turn=1, outcome="completed", inputs=(1,), user=Person(id="U1"), text="fine")
    assert fitting(end) is end


def test_the_text_of_a_long_turn_stays_bounded_and_keeps_its_end() -> None:
    tally = Tally(Attempted())
    for number in range(100):
        tally.add(Finished(ok=True, text=f"{number} " + "x" * 20_000, stop_reason="end_turn", cost_usd=0.01))
    end = tally.end(Waiting(1, said("a")), Ending(), (1,), ())
    assert len(end.text) < MOST_CHARACTERS + 100
    assert "99 xxx" in end.text
    assert round(end.cost_usd, 2) == 1.0


@given(st.lists(anything, min_size=1, max_size=5))
def test_a_conversation_comes_back_as_the_agent_wrote_it(texts: list[str]) -> None:
    entries: list[dict[str, Any]] = [{"uuid": str(number), "text": text} for number, text in enumerate(texts)]
    parts = _split(json.dumps(entries))
    found = Conversations()
    for number, part in enumerate(parts):
        message = StateAppended(batch="b", entries=part, part=number, parts=len(parts))
        found.apply(StateAppended.decode(message.encode()))
    assert found.entries[""] == entries
