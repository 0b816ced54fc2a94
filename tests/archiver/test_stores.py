"""What the archive may expect of any store: each test runs on a folder and on a bucket."""

import asyncio

import pytest

from services.archiver.backend import MAX_OBJECT, Missing, PreconditionFailed, StoreError, crc32c
from tests.archiver.stage import described

GZIP = "application/gzip"
NAME = "v1/T1/C1/1-0/00000001.jsonl.gz"


async def listed(store, prefix, start_after=None):
    return [info.name async for info in store.list(prefix, start_after)]


async def test_what_was_created_is_read_back_with_its_description(store):
    created = await store.create(NAME, b"bytes", {"first-seq": "1", "session": "T1.C1.1-0"}, GZIP)

    assert await store.read(NAME) == b"bytes"
    assert await described(store, NAME) == created
    assert [info async for info in store.list("v1/")] == [created]
    assert (created.name, created.size, created.crc32c) == (NAME, 5, crc32c(b"bytes"))
    assert created.metadata == {"first-seq": "1", "session": "T1.C1.1-0"}
    assert created.generation > 0
    assert created.created.utcoffset().total_seconds() == 0


@pytest.mark.parametrize("data", [b"", b"\0\r\n\xff", bytes(range(256)) * (MAX_OBJECT // 256)], ids=len)
async def test_bytes_of_any_kind_up_to_the_limit_come_back(store, data):
    await store.create(NAME, data, {}, GZIP)
    assert await store.read(NAME) == data


async def test_more_than_one_upload_carries_is_refused(store):
    with pytest.raises(StoreError, match="write several objects"):
        await store.create(NAME, bytes(MAX_OBJECT + 1), {}, GZIP)
    assert await listed(store, "") == []


async def test_an_object_that_stands_is_never_changed(store):
    await store.create(NAME, b"first", {"k": "1"}, GZIP)
    for data, metadata in [(b"second", {"k": "1"}), (b"first", {"k": "2"})]:
        with pytest.raises(PreconditionFailed):
            await store.create(NAME, data, metadata, GZIP)
    assert await store.read(NAME) == b"first"
    assert (await described(store, NAME)).metadata == {"k": "1"}


async def test_a_create_repeated_after_a_lost_answer_finds_its_own_object(store):
    created = await store.create(NAME, b"bytes", {"k": "1"}, GZIP)
    assert await store.create(NAME, b"bytes", {"k": "1"}, GZIP) == created


async def test_of_archivers_that_race_for_a_name_one_wins(make_store):
    stores = [make_store() for _ in range(4)]
    tries = [
        store.create(NAME, f"archiver {n} try {m}".encode(), {"by": f"{n}.{m}"}, GZIP)
        for n, store in enumerate(stores)
        for m in range(4)
    ]
    results = await asyncio.gather(*tries, return_exceptions=True)

    (won,) = [result for result in results if not isinstance(result, PreconditionFailed)]
    n, m = won.metadata["by"].split(".")
    assert await stores[0].read(NAME) == f"archiver {n} try {m}".encode()
    assert await described(stores[1], NAME) == won
    for store in stores:
        await store.close()


async def test_a_summary_is_replaced_only_by_who_saw_it_last(store):
    first = await store.replace("v1/summary.json", b"{}", {}, None)
    second = await store.replace("v1/summary.json", b'{"a":1}', {"v": "2"}, first.generation)

    assert second.generation > first.generation
    for stale in (None, first.generation):
        with pytest.raises(PreconditionFailed):
            await store.replace("v1/summary.json", b'{"b":1}', {}, stale)
    assert await store.read("v1/summary.json") == b'{"a":1}'
    assert await described(store, "v1/summary.json") == second
    assert await store.replace("v1/summary.json", b'{"a":1}', {"v": "2"}, first.generation) == second


async def test_a_summary_that_is_gone_is_not_replaced(store):
    first = await store.replace("v1/summary.json", b"{}", {}, None)
    await store.delete_all_generations("v1/summary.json")
    with pytest.raises(PreconditionFailed):
        await store.replace("v1/summary.json", b'{"a":1}', {}, first.generation)


async def test_of_racing_replacements_one_wins(store):
    first = await store.replace(NAME, b"0", {}, None)
    tries = [store.replace(NAME, b"%d" % n, {}, first.generation) for n in range(1, 9)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    (won,) = [result for result in results if not isinstance(result, PreconditionFailed)]
    assert await described(store, NAME) == won


async def test_objects_are_listed_in_the_byte_order_of_their_names(store):
    names = ["a/1", "a/2", "a-b/1", "a.b", "a0", "A/1", "b/a/1", "b/a.c/1", "b/a-/1", "b/0"]
    for name in names:
        await store.create(name, b"", {}, GZIP)

    assert await listed(store, "") == sorted(names)
    assert await listed(store, "a/") == ["a/1", "a/2"]
    assert await listed(store, "a") == ["a-b/1", "a.b", "a/1", "a/2", "a0"]
    assert await listed(store, "b/a") == ["b/a-/1", "b/a.c/1", "b/a/1"]
    assert await listed(store, "b/", "b/a-/1") == ["b/a.c/1", "b/a/1"]
    assert await listed(store, "", "a/1") == ["a/2", "a0", "b/0", "b/a-/1", "b/a.c/1", "b/a/1"]
    assert await listed(store, "c/") == []


async def test_a_listing_goes_over_pages(store, monkeypatch):
    monkeypatch.setattr("services.archiver.store._PAGE", 3)
    names = [f"v1/{n:08d}" for n in range(9)]
    for name in names:
        await store.create(name, b"", {"n": name}, GZIP)
    assert await listed(store, "v1/") == names
    assert await listed(store, "v1/", names[1]) == names[2:]


async def test_deleting_removes_every_generation_and_can_be_repeated(store):
    first = await store.replace(NAME, b"1", {}, None)
    await store.replace(NAME, b"2", {}, first.generation)
    await store.create(f"{NAME}.longer", b"stays", {}, GZIP)

    assert await store.delete_all_generations(NAME) >= 1
    assert await store.delete_all_generations(NAME) == 0
    assert await listed(store, "") == [f"{NAME}.longer"]
    with pytest.raises(Missing):
        await store.read(NAME)
    await store.create(NAME, b"anew", {}, GZIP)
    assert await store.read(NAME) == b"anew"


async def test_what_is_not_there_is_missing(store):
    for name in (NAME, "v1", "v1/T1"):
        with pytest.raises(Missing):
            await store.read(name)
        assert await store.delete_all_generations(name) == 0


@pytest.mark.parametrize(
    "name", ["", "/", "/etc/passwd", "../x", "v1/../../x", "v1//x", "v1/.versions/x", "a\0b", "ä", "x" * 201]
)
async def test_a_name_that_could_lead_elsewhere_is_refused(store, name):
    for call in (
        store.create(name, b"", {}, GZIP),
        store.read(name),
        store.delete_all_generations(name),
    ):
        with pytest.raises(StoreError, match="is no object name"):
            await call
    with pytest.raises(StoreError, match="is no object name"):
        await listed(store, f"{name}/x")


async def test_neither_a_folder_nor_the_emulator_keeps_what_was_deleted(store):
    assert await store.soft_delete_days() is None
