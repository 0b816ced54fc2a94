"""Bytes that claim to be a message: they are one that can be stored and read again, or they are refused."""

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import MalformedMessage
from schemas.ends import ENDS
from schemas.events import EVENTS
from schemas.inputs import CONTROLS, INPUTS
from schemas.live import LIVES
from schemas.work import ADMISSIONS
from tests.mutations import mutated
from tests.schemas.test_samples import SAMPLES, kinds

FAMILIES = (INPUTS, CONTROLS, EVENTS, ENDS, LIVES, ADMISSIONS)
TEXTS = {path.stem: path.read_text() for path in sorted(SAMPLES.glob("*.json"))}
A_TIME = re.compile(r'("2026-01-02T03:04:05)Z"')


def kind_of(name: str) -> Any:
    return kinds()[name.rsplit(".", 1)[0]]


@given(st.sampled_from(sorted(TEXTS)).flatmap(lambda n: st.tuples(st.just(n), mutated(json.loads(TEXTS[n])))))
def test_a_sample_with_something_wrong_is_refused_or_reads_back_as_it_is(named: tuple[str, bytes]) -> None:
    name, payload = named
    try:
        message = kind_of(name).decode(payload)
    except MalformedMessage:
        return
    assert kind_of(name).decode(message.encode()) == message


@given(
    st.sampled_from(FAMILIES), st.sampled_from(sorted(TEXTS)).flatmap(lambda n: mutated(json.loads(TEXTS[n])))
)
def test_no_payload_breaks_a_family(family: Any, payload: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert family.decode(payload)


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if A_TIME.search(text)])
def test_a_time_that_does_not_say_where_is_refused(name: str) -> None:
    with pytest.raises(MalformedMessage, match="timezone"):
        kind_of(name).decode(A_TIME.sub(r'\1"', TEXTS[name]).encode())
