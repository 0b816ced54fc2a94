"""The archive's objects as pure data: what goes in comes out, and what is damaged says so."""

import base64
import gzip
import json
import random
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.keys import SessionKey
from services.archiver.backend import MAX_OBJECT, Corrupt, ObjectInfo, crc32c
from services.archiver.objects import (
    Position,
    Span,
    object_name,
    plan_object,
    position,
    session_prefix,
    summary_name,
)
from services.archiver.records import Record, encode, pack, unpack
from tests.archiver.lines import decode

KEY = SessionKey("T1", "C1", "1712345678-123456")
T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
any_payload = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps(value, indent=1, ensure_ascii=True).encode())
    | st.text(alphabet=' \t\r\n{}[]",:0123456789eE+-.\\ntrufalse\u2028\x00', max_size=20).map(str.encode)
)
records = st.builds(
    Record,
    seq=st.integers(1, 2**63),
    subject=st.text(st.characters(codec="utf-8"), max_size=30),
    time=st.datetimes(timezones=st.just(UTC)),
    headers=st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=4),
    payload=any_payload,
)


def record(seq, payload=b'{"kind":"text"}'):
    at = T0 + timedelta(seconds=seq)
    return Record(seq=seq, subject=f"session.{KEY}.out", time=at, headers={"a": "b"}, payload=payload)


def info(name, metadata, data=b""):
    return ObjectInfo(
        name=name, size=len(data), crc32c=crc32c(data), generation=1, metadata=metadata, created=T0
    )


def planned_info(planned):
    return info(planned.name, planned.metadata, planned.data)


@given(st.lists(records, min_size=1, max_size=5))
def test_records_of_any_content_come_back_byte_for_byte(written):
    data = pack(map(encode, written))
    assert decode(data) == written
    for text, original in zip(gzip.decompress(data).splitlines(), written, strict=True):
        line = json.loads(text)
        if "payload" in line:
            assert original.payload in encode(original)
        else:
            assert base64.b64decode(line["payload_base64"]) == original.payload


def test_a_json_payload_stands_in_its_line_as_it_came():
    payload = '{"b": 1.50, "a": "\\u00e4ä", "a": 1e3}'.encode()
    assert payload in encode(record(7, payload))
    assert json.loads(encode(record(7))) == {
        "seq": 7,
        "subject": "session.T1.C1.1712345678-123456.out",
        "time": "2026-01-02T03:04:12.678901Z",
        "headers": {"a": "b"},
        "payload": {"kind": "text"},
    }


@pytest.mark.parametrize(
    "payload",
    [b"", b" 1", b'{"a":\n1}', b"\xff", b'"\xff"', b"NaN", b"[" * 100_000, b"1 2", b"\xef\xbb\xbf1"],
    ids=repr,
)
def test_a_payload_that_would_break_its_line_is_kept_in_base64(payload):
    line = encode(record(1, payload))
    assert json.loads(line)["payload_base64"] == base64.b64encode(payload).decode()
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("depth", [10, 500, 700, 800, 900, 950])
def test_a_payload_is_never_nested_too_deep_for_its_reader(depth):
    def deeper(calls, data):
        return deeper(calls - 1, data) if calls else decode(data)

    nested = record(1, b"[" * depth + b"]" * depth)
    assert deeper(100, pack([encode(nested)])) == [nested]


def test_a_header_that_is_no_text_does_not_stop_the_archive():
    odd = Record(
        seq=1, subject="s", time=T0, headers={"a": b"\xff".decode(errors="surrogateescape")}, payload=b"1"
    )
    assert decode(pack([encode(odd)]))[0].headers == {"a": "\\udcff"}


def test_the_same_records_make_the_same_bytes():
    assert pack([encode(record(1))]) == pack([encode(record(1))])
    assert pack([b"x\n"])[4:8] == bytes(4)


def test_the_tools_of_a_shell_read_an_object():
    written = [record(1), record(2, b"\xff"), record(3, b"[1, 2]")]
    unzipped = subprocess.run(["zcat"], input=pack(map(encode, written)), capture_output=True, check=True)
    assert unzipped.stderr == b""
    assert [json.loads(line)["seq"] for line in unzipped.stdout.splitlines()] == [1, 2, 3]


@settings(max_examples=50)
@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_an_object_that_was_cut_or_altered_is_corrupt_or_unchanged(written, data):
    whole = pack(map(encode, written))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Corrupt):
        unpack(whole[:cut])
    flipped = bytearray(whole)
    flipped[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Corrupt):
        assert decode(bytes(flipped)) == written  # some bits of gzip's header mean nothing


@given(st.binary(max_size=300))
def test_bytes_of_strangers_are_corrupt(data):
    with pytest.raises(Corrupt):
        unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        pack([encode(record(1))]) + b"more",
        pack([encode(record(1))]) * 2,
        pack([encode(record(1))[:-1]]),
        pack([]),
    ],
    ids=["garbage after", "two members", "no newline", "empty"],
)
def test_what_is_no_object_is_corrupt(data):
    with pytest.raises(Corrupt):
        unpack(data)


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory():
    with pytest.raises(Corrupt, match="unpacks to more than"):
        unpack(gzip.compress(bytes(200 * 1024 * 1024), 1))


def test_names_sort_as_their_numbers():
    assert object_name(KEY, 1) == "v1/T1/C1/1712345678-123456/00000001.jsonl.gz"
    assert object_name(KEY, 9) < object_name(KEY, 10) < object_name(KEY, 12345678) < summary_name(KEY)
    assert object_name(KEY, 1).startswith(session_prefix(KEY))


def test_objects_follow_each_other():
    assert position([]) == Position(next_n=1, last_seq=0)
    first = plan_object(KEY, "SESSIONS", None, [record(3), record(8)])
    assert first.name == object_name(KEY, 1)
    assert first.taken == 2
    assert first.metadata == {
        "schema": "1",
        "session": str(KEY),
        "stream": "SESSIONS",
        "count": "2",
        "first-seq": "3",
        "last-seq": "8",
        "first-time": "2026-01-02T03:04:08.678901Z",
        "last-time": "2026-01-02T03:04:13.678901Z",
    }
    assert position([planned_info(first)]) == Position(next_n=2, last_seq=8)

    second = plan_object(KEY, "SESSIONS", planned_info(first), [record(9)])
    listing = [planned_info(first), planned_info(second), info(summary_name(KEY), {})]
    assert second.name == object_name(KEY, 2)
    assert position(listing) == position(listing[::-1]) == Position(next_n=3, last_seq=9)
    assert Span.read(listing[1]) == Span.of(KEY, "SESSIONS", decode(second.data))


def test_records_that_the_archive_has_already_are_refused():
    last = planned_info(plan_object(KEY, "SESSIONS", None, [record(3)]))
    for wrong in ([], [record(3)], [record(2), record(4)], [record(5), record(5)]):
        with pytest.raises(ValueError, match="none or not ascending"):
            plan_object(KEY, "SESSIONS", last, wrong)


def test_metadata_of_strangers_is_corrupt():
    for metadata in ({}, {"last-seq": "x"}):
        with pytest.raises(Corrupt, match="not the archive's"):
            position([info(object_name(KEY, 1), metadata)])


@pytest.mark.parametrize(
    "sizes", [[3_000_000] * 7, [20, 9_000_000], [5_900_000, 5_900_000, 1], [1] * 3], ids=str
)
def test_records_that_do_not_fit_go_into_the_next_object(sizes):
    chance = random.Random(1)
    payloads = [b'"%s"' % chance.randbytes(size // 2).hex().encode() for size in sizes]
    left = [record(n, payload) for n, payload in enumerate(payloads, 1)]
    written, last = [], None
    while left:
        planned = plan_object(KEY, "SESSIONS", last, left)
        assert len(planned.data) <= MAX_OBJECT
        last = planned_info(planned)
        written += decode(planned.data)
        left = left[planned.taken :]
    assert [r.payload for r in written] == payloads


def test_ten_thousand_records_are_decoded_in_less_than_a_second():
    data = pack(encode(record(n, b'{"text":"%s"}' % (b"x" * 200))) for n in range(1, 10_001))
    started = time.thread_time()
    assert len(decode(data)) == 10_000
    assert time.thread_time() - started < 1
