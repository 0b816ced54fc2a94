"""Deliveries that are no message of ours: they are buried whole, and the service that met them works on."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import HEADER_ID, MalformedMessage
from schemas.buckets import Lease
from schemas.events import Notice
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.metrics import UNREADABLE
from services.runtime.pull import Delivery
from services.runtime.tracing import span
from tests.runtime.test_consume import Work, consumer, letters, nothing_open, say, text

__all__ = ["consumer"]  # the fixture


async def read_it(delivery: Delivery) -> None:
    text(delivery)


@pytest.mark.parametrize(
    "headers",
    [
        b"Odd: \xff\xfe\r\ntraceparent: 00-\xff-\xff-01\r\n",
        b"no colon\r\n",
        b": no name\r\n",
        b" folded: a\r\n b\r\n",
        b"Nul: \0\r\nNul: again\r\n",
        b"Status: 409\r\nNats-Pending-Messages: many\r\n",
        b"Long: " + b"x" * 60_000 + b"\r\n",
    ],
)
async def test_odd_headers_keep_no_message_from_its_letter_and_nobody_behind_it(
    bus: Bus, headers: bytes
) -> None:
    await _raw(bus, "session.T1.C1.a.out", headers, b"{")
    work = Work(bus, read_it)
    async with work.running():
        await say(bus, "a", "behind it")
        await work.until(lambda done: done["a"] == ["behind it"])
        (letter,) = await letters(bus, 1)
        await nothing_open(bus)
    assert letter.payload == "{"


async def _raw(bus: Bus, subject: str, headers: bytes, payload: bytes) -> None:
    """Publish headers that the client would not write."""
    head = b"NATS/1.0\r\n" + headers + b"\r\n"
    line = b"HPUB %s %d %d\r\n" % (subject.encode(), len(head), len(head) + len(payload))
    await bus.client._send_command(line + head + payload + b"\r\n")
    await bus.client.flush()


def test_what_is_wrong_with_a_message_is_said_in_one_line_however_long_it_is() -> None:
    with pytest.raises(MalformedMessage) as told:
        Notice.decode(b'{"kind":"%s"}' % (b"x" * 1_000_000))
    assert len(str(told.value)) < 1_000


HEADERS = st.dictionaries(
    st.sampled_from(["traceparent", "tracestate", "baggage", HEADER_ID]),
    st.text(st.characters(exclude_categories=())) | st.sampled_from(["00-0-0-00", "a=" * 10_000]),
)


@given(headers=HEADERS)
def test_no_headers_break_a_trace(headers: dict[str, str]) -> None:
    with span("x", headers):
        pass


async def test_a_value_that_nobody_can_read_counts_as_none_and_is_written_over(bus: Bus) -> None:
    await bus.publish_raw("$KV.leases.T1.C1.a", b"{", {})
    leases = Bucket(bus, "leases", Lease)
    assert (await leases.get("T1.C1.a")).value is None
    async with contextlib.aclosing(leases.watch()) as entries:
        seen = await anext(entries)
        assert seen is not None
        assert (seen.key, seen.value) == ("T1.C1.a", None)
        assert UNREADABLE.labels("leases")._value.get() >= 2
    await leases.create("T1.C1.a", Lease(holder="w-1"))
    assert (await leases.get("T1.C1.a")).value is not None
