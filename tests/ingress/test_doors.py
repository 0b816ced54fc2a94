"""The door on the wire: bodies that are cut, packed, late or signed for another, and what stays outside with them."""

import asyncio
import gzip
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingress import http
from services.ingress.signature import sign
from services.runtime.bus import Bus
from services.runtime.metrics import REFUSED
from tests.ingress.stage import Door, Slack, stored
from tests.scheduler.until import until

CHUNKED = b"Transfer-Encoding: chunked\r\n"


def mention(slack: Slack) -> bytes:
    return slack.event(
        {"type": "app_mention", "channel": "C1", "user": "U1", "ts": slack.now(), "text": "<@UBOT> go"}
    )


def head(slack: Slack, body: bytes, more: bytes) -> bytes:
    """The beginning of a request that Slack signed for `body`."""
    now = str(int(time.time()))
    signature = sign(slack.simulator.signing_secret, now, body)
    return (
        b"POST /slack/events HTTP/1.1\r\nHost: ingress\r\nConnection: close\r\n"
        b"X-Slack-Request-Timestamp: %s\r\nX-Slack-Signature: %s\r\n%s\r\n"
        % (now.encode(), signature.encode(), more)
    )


async def said(door: Door, *pieces: bytes) -> bytes:
    """Send `pieces`, each once the one before has arrived, and return the answer's first line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize(
    ("more", "body"),
    [
        (CHUNKED, [b"5\r\nhello\r\n", b"zz\r\n"]),
        (CHUNKED, [b"5\r\nhel", b"lo too long\r\n0\r\n\r\n"]),
        (CHUNKED + b"Content-Length: 5\r\n", [b"5\r\nhello\r\n0\r\n\r\n"]),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", [b"hello"]),
        (b"Content-Length: -5\r\n", [b"hello"]),
        (b"Content-Length: 99999999999999999999\r\n", [b"hello"]),
    ],
)
async def test_a_body_that_is_framed_wrongly_is_refused_or_never_ends(
    bus: Bus,
    slack: Slack,
    ingress: Door,
    monkeypatch: pytest.MonkeyPatch,
    more: bytes,
    body: list[bytes],
) -> None:
    monkeypatch.setattr(http, "BODY_WITHIN", 0.2)
    answer = await said(ingress, head(slack, b"hello", more), *body)
    assert answer.split()[1] in {b"400", b"408"}
    monkeypatch.undo()
    assert (await slack.post(ingress, mention(slack)))[0] == 200
    assert len(await stored(bus)) == 1


async def test_a_chunked_body_is_bounded_too(slack: Slack, ingress: Door) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    many = [chunk] * (http.MOST_BODY // 0x10000 + 1)
    assert b" 413 " in await said(ingress, head(slack, b"", CHUNKED), *many)


async def test_a_packed_body_is_read_as_the_bytes_that_it_is(bus: Bus, slack: Slack, ingress: Door) -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    more = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb)
    assert b" 400 " in await said(ingress, head(slack, bomb, more), bomb)
    assert await stored(bus) == {}


async def test_a_body_that_trickles_in_is_given_up(
    slack: Slack, ingress: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_WITHIN", 0.05)
    before = REFUSED.labels("ingress", "slow_body")._value.get()
    assert b" 408 " in await said(ingress, head(slack, b"hello", b"Content-Length: 5\r\n"), b"h")
    assert REFUSED.labels("ingress", "slow_body")._value.get() == before + 1


async def test_who_leaves_in_the_middle_of_a_body_disturbs_nobody(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    cut = REFUSED.labels("ingress", "cut_body")._value
    before = cut.get()
    _, writer = await asyncio.open_connection("127.0.0.1", int(ingress.url.rpartition(":")[2]))
    writer.write(head(slack, b"hello", b"Content-Length: 5\r\n") + b"h")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await until(lambda: cut.get() == before + 1)
    assert (await slack.post(ingress, mention(slack)))[0] == 200
    assert len(await stored(bus)) == 1


async def test_of_two_signatures_a_true_one_behind_a_forged_one_opens_nothing(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    body = mention(slack)
    true = head(slack, body, b"Content-Length: %d\r\n" % len(body))
    forged = true.replace(b"X-Slack-Signature:", b"X-Slack-Signature: v0=0\r\nX-Slack-Signature:")
    assert b" 401 " in await said(ingress, forged, body)
    assert await stored(bus) == {}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_signature_holds_for_its_own_time_and_bytes_alone(
    bus: Bus, slack: Slack, ingress: Door, data: st.DataObject
) -> None:
    body, now = mention(slack), int(time.time())
    place, bit = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7))
    other = body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]
    signature = sign(slack.simulator.signing_secret, str(now), body)
    true = {"X-Slack-Request-Timestamp": str(now), "X-Slack-Signature": signature}
    assert (await slack.post(ingress, other, **true))[0] == 401
    skewed = str(now + data.draw(st.integers(-299, 299).filter(bool)))
    assert (await slack.post(ingress, body, **true | {"X-Slack-Request-Timestamp": skewed}))[0] == 401
    odd = data.draw(st.sampled_from(["+", "0", "\uff11", "1e9", "-", "_"])) + str(now)
    assert (await slack.post(ingress, body, **true | {"X-Slack-Request-Timestamp": odd}))[0] == 401
    assert await stored(bus) == {}
