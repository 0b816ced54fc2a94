"""What a network does to a bucket's client."""

import asyncio
import contextlib
import re
import socket
import time
import uuid
from contextlib import closing

import msgspec
import pytest
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from schemas.archive import Deleted, DeleteSession, LogPage, ReadLog
from services.archiver import gcs
from services.archiver.app import wire
from services.archiver.backend import Corrupt, Missing, PreconditionFailed, StoreError, Unavailable
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.runtime.health import Readiness
from services.runtime.tasks import cancel
from tests.archiver.stage import KEY, acknowledged, described, end, say, tell

GZIP = "application/gzip"
NAME = "v1/T1/C1/1-0/00000001.jsonl.gz"


def store_at(url, bucket, **options):
    return Store(gcs.Bucket(gcs.connect(url), bucket), **options)


def url_of(listening):
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_a_create_whose_answer_was_lost_ends_well(tunnel, bucket):
    store = store_at(await tunnel.open(), bucket)
    tunnel.losing = 1
    created = await store.create(NAME, b"bytes", {"k": "1"}, GZIP)

    assert tunnel.lost == 1
    assert await described(store, NAME) == created
    assert [info async for info in store.list("v1/")] == [created]
    await store.close()


async def test_a_replacement_whose_answer_was_lost_ends_well(tunnel, bucket):
    store = store_at(await tunnel.open(), bucket)
    first = await store.replace(NAME, b"1", {}, None)
    tunnel.losing = 1
    second = await store.replace(NAME, b"2", {}, first.generation)

    assert tunnel.lost == 1
    assert await described(store, NAME) == second
    await store.close()


async def test_a_delete_whose_answer_was_lost_ends_well(tunnel, bucket, gcs_url):
    direct = store_at(gcs_url, bucket)
    await direct.create(NAME, b"1", {}, GZIP)
    store = store_at(await tunnel.open(), bucket)
    await store.soft_delete_days()  # the connection stands, and the next answer is the listing's
    tunnel.losing = 1
    assert await store.delete_all_generations(NAME) == 1
    assert tunnel.lost == 1
    with pytest.raises(Missing):
        await direct.read(NAME)
    await store.close()
    await direct.close()


async def test_deleting_asks_for_every_generation_and_tells_what_the_bucket_kept(gcs_url, tunnel):
    name = f"versioned-{uuid.uuid4().hex}"
    with closing(gcs.connect(gcs_url)) as client:
        versioned = client.bucket(name)
        versioned.versioning_enabled = True
        client.create_bucket(versioned)
    store = store_at(await tunnel.open(), name)
    first = await store.replace(NAME, b"1", {}, None)
    second = await store.replace(NAME, b"2", {}, first.generation)
    third = await store.replace(NAME, b"3", {}, second.generation)

    with pytest.raises(StoreError, match="kept 3 generations"):  # the emulator archives instead of deleting
        await store.delete_all_generations(NAME)
    asked = {int(n) for n in re.findall(rb"^DELETE \S+[?&]generation=(\d+)", tunnel.requests, re.MULTILINE)}
    assert asked == {first.generation, second.generation, third.generation}
    await store.close()


async def test_a_bucket_that_loses_every_answer_is_unavailable_and_a_later_try_goes_on(tunnel, bucket):
    url = await tunnel.open()
    hasty, store = store_at(url, bucket, deadline=1.0), store_at(url, bucket)
    tunnel.losing = 1000
    with pytest.raises(Unavailable):
        await hasty.create(NAME, b"bytes", {"k": "1"}, GZIP)
    tunnel.losing = 0
    created = await store.create(NAME, b"bytes", {"k": "1"}, GZIP)
    assert await described(store, NAME) == created
    with pytest.raises(PreconditionFailed):
        await store.create(NAME, b"other", {"k": "1"}, GZIP)
    await hasty.close()
    await store.close()


async def test_a_bucket_that_never_answers_is_unavailable_at_the_deadline():
    silent = socket.create_server(("127.0.0.1", 0))  # the kernel connects, nobody reads
    store = store_at(url_of(silent), "bucket", deadline=0.5, threads=1)
    started = time.monotonic()
    calls = [store.read(NAME), store.create(NAME, b"", {}, GZIP), store.soft_delete_days()]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results] == [Unavailable] * 3
    assert time.monotonic() - started < 10
    await store.close()
    silent.close()


async def test_a_bucket_that_is_not_reached_is_unavailable():
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # ours, and refusing
    store = store_at(url_of(closed), "bucket", deadline=0.5)
    for call in (store.read(NAME), store.delete_all_generations(NAME)):
        with pytest.raises(Unavailable):
            await call
    await store.close()
    closed.close()


async def test_a_bucket_that_does_not_exist_is_told(gcs_url):
    store = store_at(gcs_url, "nowhere")
    with pytest.raises(Missing, match="no such bucket"):
        await store.create(NAME, b"", {}, GZIP)
    with pytest.raises(Missing, match="no such bucket"):
        await store.read(NAME)
    await store.close()


@pytest.mark.parametrize(
    ("damaged", "error"), [(1, None), (2, Corrupt)], ids=["once on its way", "where it lies"]
)
async def test_what_comes_damaged_is_read_again_and_then_told(
    gcs_url, bucket, monkeypatch: pytest.MonkeyPatch, damaged: int, error: type[StoreError] | None
):
    store = store_at(gcs_url, bucket)
    await store.create(NAME, b"bytes", {}, GZIP)
    download, answers = storage.Blob.download_as_bytes, iter([True] * damaged + [False] * 2)

    def unsure(blob: storage.Blob, **options):
        data = download(blob, **options)
        if next(answers):
            raise DataCorruption(None, "checksum mismatch")
        return data

    monkeypatch.setattr(storage.Blob, "download_as_bytes", unsure)
    with pytest.raises(error, match="not what was written") if error else contextlib.nullcontext():
        assert await store.read(NAME) == b"bytes"
    await store.close()


async def test_what_comes_without_its_checksum_is_compared_with_what_was_written(
    gcs_url, bucket, monkeypatch: pytest.MonkeyPatch
):
    store = store_at(gcs_url, bucket)
    await store.create(NAME, b"bytes", {}, GZIP)
    download, change = storage.Blob.download_as_bytes, [b"", b"!"]

    def bare(blob: storage.Blob, **options):
        data = download(blob, **options)
        del blob._properties["crc32c"]
        return data + change[0]

    monkeypatch.setattr(storage.Blob, "download_as_bytes", bare)
    assert await store.read(NAME) == b"bytes"
    change.pop(0)
    with pytest.raises(Corrupt, match="not what was written"):
        await store.read(NAME)
    await store.close()


async def test_an_object_is_plain_gzip_to_other_readers(gcs_url, bucket):
    store = store_at(gcs_url, bucket)
    await store.create(NAME, b"bytes", {"k": "1"}, GZIP)
    with closing(gcs.connect(gcs_url)) as client:
        blob = client.bucket(bucket).get_blob(NAME)
    assert (blob.content_type, blob.content_encoding) == (GZIP, None)
    await store.close()


async def test_a_session_goes_into_a_bucket_and_comes_back(bus, bucket, gcs_url):
    settings = ArchiverSettings(bucket=bucket, gcs_endpoint=gcs_url)
    service = await wire(bus, Readiness({}), settings)
    running = asyncio.create_task(service.run())
    sent = [await say(bus), await tell(bus), await end(bus)]
    await acknowledged(bus)
    page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    deleted = Deleted.decode(await bus.request("archiver.delete", DeleteSession(session=str(KEY), by="U1")))
    nothing = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    await cancel(running)

    assert [msgspec.json.decode(raw)["seq"] for raw in page.records] == sent
    assert (deleted.objects, deleted.messages) == (1, 3)
    assert nothing.records == ()
