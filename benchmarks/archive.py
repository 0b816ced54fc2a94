"""The archive: how fast events go into it, and how soon a long session is restored from it."""

import asyncio
import contextlib
import gzip
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from random import Random
from string import ascii_lowercase

import msgspec
from google.cloud import storage

from benchmarks.archiver import Archive
from benchmarks.brokers import Brokers, brokers
from benchmarks.child import child
from benchmarks.report import Section, Table, median, ms, ratio
from schemas.archive import LogPage, ReadLog
from schemas.base import SessionMessage
from schemas.bus import ARCHIVER, SESSIONS
from schemas.ends import TurnEnd
from schemas.events import TextBlock
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.state import StateAppended
from services.archiver import gcs
from services.runtime.bus import Draft
from services.worker.archive import Archived
from services.worker.state import restore
from tests.object_store import launch

MB = 1e6
BUCKET = "bench"
SESSION_COUNT = 4
# A turn as Claude Code makes it: mostly what it said and did, in between its own conversation.
TURN = 20
STATES = 5
# Prose packs to about a third.
WORDS = " ".join(Random(1).choices(ascii_lowercase, k=500))
ROUNDS = 5
FETCH = 100
ADA = Person(id="U1")


async def run(quick: bool) -> Section:
    events = 1_000 if quick else 10_000
    section = Section(
        title="Archive",
        told=(
            f"{SESSION_COUNT} sessions of {events:,} events of about 1 KB in turns of {TURN}, one of them {STATES} pieces of the"
            " agent's conversation for each turn, lie in the stream when an archiver starts; an object store emulator of"
            " GCS on the same machine. The bare uploader puts the same objects, packed before, one after the other with"
            " `google-cloud-storage`; the bare reader fetches the same messages with nats-py, acknowledges and packs them."
            " Restoring is what a worker does before a first turn, reading what a page of the"
            " transcript shows; bare gets the session's objects in the same way and unpacks them. MB are of what"
            f" events hold. The median of {ROUNDS} restorations."
        ),
    )
    for nodes in (1,) if quick else (1, 3):
        async with brokers(nodes) as running, _bucket() as (bucket, endpoint):
            archive = Archive(nats_url=running.url, bucket=BUCKET, endpoint=endpoint)
            stored, restored = await _measure(running, bucket, archive, events)
        name = f"{nodes} node{'s' * (nodes > 1)}"
        section.tables[f"into the archive, {name}"] = stored
        section.tables[f"out of it, {name}: a session of {events:,} events"] = restored
    return section


async def _measure(
    running: Brokers, bucket: storage.Bucket, archive: Archive, events: int
) -> tuple[Table, Table]:
    keys = [SessionKey("T1", "C1", f"{number}-1") for number in range(SESSION_COUNT)]
    size = sum(await asyncio.gather(*(_lived(running, key, events) for key in keys)))
    began = time.perf_counter()
    async with child("benchmarks.archiver", archive):
        await _archived(running)
        seconds = time.perf_counter() - began
        objects = await asyncio.to_thread(_objects, bucket)
        uploader = await asyncio.to_thread(_put_again, bucket, objects)
        reader = await _packed(running, events * SESSION_COUNT)
        table = Table(columns=("who", "MB/s", "events/s", "MB/s to reader and uploader"))
        for who, took in (
            ("bare reader", reader),
            ("bare uploader", uploader),
            ("bare reader, then uploader", reader + uploader),
            ("archiver", seconds),
        ):
            rates = f"{size / MB / took:.1f}", f"{events * SESSION_COUNT / took:,.0f}"
            table.add(who, *rates, ratio(reader + uploader, took))
        return table, await _restored(running, bucket, keys[0], events)


async def _lived(running: Brokers, key: SessionKey, events: int) -> int:
    """Store a session's events; return how many bytes they hold."""
    size = 0
    for turn in range(events // TURN):
        messages: list[SessionMessage] = [TextBlock(block=n, text=WORDS) for n in range(TURN - STATES - 1)]
        messages += [_state(turn, n) for n in range(STATES)]
        await asyncio.gather(*(_store(running, key, each) for each in messages))
        end = TurnEnd(turn=turn, outcome="completed", inputs=(turn,), user=ADA)
        await _store(running, key, end)
        size += sum(len(each.encode()) for each in (*messages, end))
    return size


def _state(turn: int, number: int) -> StateAppended:
    entry = {"uuid": f"{turn}-{number}", "type": "assistant", "text": WORDS}
    return StateAppended(
        batch=f"{turn}-{number}",
        entries=msgspec.json.encode([entry]).decode(),
        agent="claude",
        conversation="c-1",
    )


async def _store(running: Brokers, key: SessionKey, message: SessionMessage) -> None:
    await running.bus.publish(Draft(subject=message.subject(key), message=message, session=str(key)))


async def _archived(running: Brokers) -> None:
    async with asyncio.timeout(600):
        while True:
            info = await running.bus.api(f"CONSUMER.INFO.{SESSIONS.name}.{ARCHIVER.name}", None)
            if not (info["num_ack_pending"] or info["num_pending"]):
                return
            await asyncio.sleep(0.01)


async def _restored(running: Brokers, bucket: storage.Bucket, key: SessionKey, events: int) -> Table:
    worker, pages, bare = [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = await restore(running.bus, Archived(running.bus, key, "state"), 0, 1)
        worker.append(time.perf_counter() - began)
        _check(len(found.entries[""]), events // TURN * STATES)
        began = time.perf_counter()
        _check(await _read(running, key), events)
        pages.append(time.perf_counter() - began)
        began = time.perf_counter()
        _check(await asyncio.to_thread(_unpacked, bucket, key), events)
        bare.append(time.perf_counter() - began)
    table = Table(columns=("who", "ms", "to bare"))
    table.add("bare: the objects got and unpacked", ms(median(bare)), "1.00x")
    table.add("a worker's agent remembers again", ms(median(worker)), ratio(median(worker), median(bare)))
    table.add("the whole transcript over the bus", ms(median(pages)), ratio(median(pages), median(bare)))
    return table


def _check(found: int, wanted: int) -> None:
    """A number counts only if the work was done. Raises `RuntimeError`."""
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} were there")


async def _read(running: Brokers, key: SessionKey) -> int:
    after, more, count = 0, True, 0
    while more:
        request = ReadLog(session=str(key), after=after)
        page = LogPage.decode(await running.bus.request(request.subject(), request))
        after, more, count = page.through, page.more, count + len(page.records)
    return count


# --- bare -----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _bucket() -> AsyncIterator[tuple[storage.Bucket, str]]:
    with _emulator() as endpoint, contextlib.closing(gcs.connect(endpoint)) as client:
        yield await asyncio.to_thread(client.create_bucket, BUCKET), endpoint


@contextlib.contextmanager
def _emulator() -> Iterator[str]:
    with tempfile.TemporaryFile() as log:
        process, endpoint = launch(log)
        try:
            yield endpoint
        finally:
            process.terminate()
            process.wait(10)


def _objects(bucket: storage.Bucket) -> list[bytes]:
    blobs = [blob for blob in bucket.list_blobs() if blob.name.endswith(".jsonl.gz")]
    return [blob.download_as_bytes(raw_download=True) for blob in blobs]


def _put_again(bucket: storage.Bucket, objects: list[bytes]) -> float:
    began = time.perf_counter()
    for number, content in enumerate(objects):
        bucket.blob(f"bare/{number}").upload_from_string(content, content_type="application/gzip")
    return time.perf_counter() - began


async def _packed(running: Brokers, count: int) -> float:
    stream = running.bus.client.jetstream()
    subscription = await stream.pull_subscribe("session.>", durable="bare", stream=SESSIONS.name)
    await _led(running, "bare")
    began = time.perf_counter()
    payloads: list[bytes] = []
    while len(payloads) < count:
        for message in await subscription.fetch(FETCH, timeout=5):
            payloads.append(message.data)
            await message.ack()
    await asyncio.to_thread(gzip.compress, b"\n".join(payloads))
    return time.perf_counter() - began


async def _led(running: Brokers, consumer: str) -> None:
    """Return when the consumer answers: one that is replicated has no leader at first."""
    async with asyncio.timeout(10):
        asked = f"CONSUMER.INFO.{SESSIONS.name}.{consumer}"
        while "error" in await running.bus.api(asked, None):  # noqa: ASYNC110 (a broker tells nobody)
            await asyncio.sleep(0.05)


def _unpacked(bucket: storage.Bucket, key: SessionKey) -> int:
    prefix = f"v1/{'/'.join(str(key).split('.'))}/"
    blobs = [blob for blob in bucket.list_blobs(prefix=prefix) if blob.name.endswith(".jsonl.gz")]
    return sum(_lines(blob.download_as_bytes(raw_download=True)) for blob in blobs)


def _lines(content: bytes) -> int:
    return len([msgspec.json.decode(line) for line in gzip.decompress(content).splitlines()])
