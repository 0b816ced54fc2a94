"""Whole streams out of a broker and back, by JetStream's own snapshots: sequences, headers and times stay as they were.

Consumers are left behind: those of the map are made anew, hear everything again, and know what they have done.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from services.runtime.bus import Bus
from services.runtime.errors import Unavailable

CHUNK = 2**17
# Checking and packing a large stream takes the broker a while before its first word, unpacking one before its last.
PATIENCE = 300.0
CHUNK_SECONDS = 30.0
LISTENING_SECONDS = 5.0


class Taken(msgspec.Struct, frozen=True):
    """A stream as it was when its snapshot was taken, in the server's own words."""

    config: dict[str, Any]
    state: dict[str, Any]


async def take(bus: Bus, stream: str, keep: Callable[[bytes], object]) -> Taken:
    """Take a snapshot of `stream`, giving each chunk of it to `keep`. Raises `Unavailable`."""
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox, cb=arrived.put)
    request = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK, "jsck": True}
    try:
        answer = await _ask(bus, f"$JS.API.STREAM.SNAPSHOT.{stream}", msgspec.json.encode(request), PATIENCE)
        while chunk := await _chunk(bus, stream, arrived):
            keep(chunk)
    finally:
        if not bus.client.is_closed:
            await subscription.unsubscribe()
    return msgspec.convert(answer, Taken)


async def _chunk(bus: Bus, stream: str, arrived: asyncio.Queue[Msg]) -> bytes:
    """Return the next chunk, empty after the last one."""
    try:
        async with asyncio.timeout(CHUNK_SECONDS):
            message = await arrived.get()
    except TimeoutError as e:
        raise Unavailable(f"the snapshot of {stream} does not go on; try again") from e
    status = (message.headers or {}).get("Status", "200")
    if not status.startswith("2"):
        raise Unavailable(f"the snapshot of {stream} broke off ({status}); try again")
    if message.reply:  # the broker sends on as we keep up
        await bus.client.publish(message.reply, b"")
    return bytes(message.data)


async def put_back(bus: Bus, taken: Taken, chunks: Iterable[bytes]) -> dict[str, Any]:
    """Make the stream that `taken` describes of `chunks`; return its state. Raises `Unavailable`.

    What is cut off in the middle leaves no stream behind.
    """
    name = taken.config["name"]
    answer = await _ask(bus, f"$JS.API.STREAM.RESTORE.{name}", msgspec.json.encode(taken), CHUNK_SECONDS)
    for chunk in chunks:
        await _ask(bus, answer["deliver_subject"], chunk, CHUNK_SECONDS)
    done = await _ask(bus, answer["deliver_subject"], b"", PATIENCE)
    state: dict[str, Any] = done["state"]
    return state


async def _ask(bus: Bus, subject: str, payload: bytes, patience: float) -> dict[str, Any]:
    until = time.monotonic() + LISTENING_SECONDS
    while True:
        try:
            reply = await bus.client.request(subject, payload, timeout=patience)
        except NoRespondersError as e:
            # A node learns a moment later who listens on another one.
            if time.monotonic() > until:
                raise Unavailable(f"nobody listens to {subject}; try again") from e
            await asyncio.sleep(0.02)
        except (NatsError, TimeoutError, ConnectionError) as e:
            # Not again: what was heard and not answered would be a second snapshot beside the first.
            raise Unavailable(f"the broker did not answer {subject}; try again") from e
        else:
            return _answer(subject, reply.data)


def _answer(subject: str, data: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(data) if data else {}
    if "error" in answer:
        raise Unavailable(f"the broker refuses {subject}: {answer['error'].get('description')}")
    return answer
