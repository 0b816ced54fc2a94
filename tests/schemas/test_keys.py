"""Session keys cannot be anything but safe."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.keys import InvalidKey, SessionKey, token, ts_token

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
WILD = set("*> .\t\r\n\0/\\$")

tokens = st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\Z")


@given(st.text())
def test_a_token_is_safe_or_refused(text: str) -> None:
    try:
        accepted = token(text)
    except InvalidKey:
        return
    assert accepted == text
    assert LABEL.match(text)
    assert not WILD & set(text)
    assert text.isascii()


@given(tokens, tokens, tokens)
def test_a_key_reads_back_as_it_was_written(team: str, channel: str, thread: str) -> None:
    key = SessionKey(team, channel, thread)
    assert SessionKey.parse(str(key)) == key
    assert str(key).count(".") == 2


@given(st.text())
def test_no_text_parses_into_an_unsafe_key(text: str) -> None:
    try:
        key = SessionKey.parse(text)
    except InvalidKey:
        return
    assert str(key) == text
    assert not (WILD - {"."}) & set(text)


@pytest.mark.parametrize(
    "hostile",
    ["", "a.b", "a.b.c.d", "a.b.*", "a.b.>", "a..c", "a.b.c\n", "a.b.ü", "-a.b.c", "a.b." + "c" * 64],
)
def test_known_attacks_are_refused(hostile: str) -> None:
    with pytest.raises(InvalidKey):
        SessionKey.parse(hostile)


def test_slacks_timestamp_becomes_a_token_and_back() -> None:
    key = SessionKey.of_thread("T024BE7LD", "C061EG9SL", "1712345678.123456")
    assert str(key) == "T024BE7LD.C061EG9SL.1712345678-123456"
    assert key.thread_ts == "1712345678.123456"


@given(st.text())
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    try:
        ts_token(text)
    except InvalidKey:
        return
    assert re.fullmatch(r"[0-9]+\.[0-9]+", text)
