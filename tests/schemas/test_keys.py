"""Session keys cannot be anything but safe."""

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.buckets import Lease
from schemas.events import Notice
from schemas.keys import InvalidKey, SessionKey, token, ts_of, ts_token
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft

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


near_tokens = st.text(st.sampled_from("aZ09-_.*> \n\u00e9\u0301\uff11\u212a\0/"), max_size=66)


@given(near_tokens, near_tokens, near_tokens)
def test_what_is_nearly_a_key_is_one_or_is_refused_everywhere_alike(
    team: str, channel: str, thread: str
) -> None:
    written = f"{team}.{channel}.{thread}"
    try:
        key = SessionKey(team, channel, thread)
    except InvalidKey:
        if written.count(".") == 2:
            with pytest.raises(InvalidKey):
                SessionKey.parse(written)
        return
    assert SessionKey.parse(written) == key
    assert all(
        LABEL.match(part) and unicodedata.normalize("NFKC", part) == part for part in written.split(".")
    )


@given(st.from_regex(r"\A[0-9]{1,16}\.[0-9]{1,12}\Z"))
def test_a_timestamp_comes_back_from_its_token(ts: str) -> None:
    assert ts_of(token(ts_token(ts))) == ts


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.tuples(tokens, tokens, tokens))
async def test_the_broker_takes_every_key_as_subject_and_as_name_in_a_bucket(
    bus: Bus, parts: tuple[str, str, str]
) -> None:
    key = SessionKey(*parts)
    sequence = await bus.publish(Draft(subject=f"session.{key}.out", message=Notice(text="here")))
    assert (stored := await bus.at("SESSIONS", sequence)) is not None
    assert stored.subject == f"session.{key}.out"
    leases = Bucket(bus, "leases", Lease)
    if (await leases.get(str(key))).value is None:
        await leases.create(str(key), Lease(holder="w"))
    assert (await leases.get(str(key))).value is not None
