"""Files in chunks on a real broker."""

from hashlib import sha256

import pytest

from services.runtime.bus import Bus
from services.runtime.errors import Unavailable
from services.runtime.files import CHUNK_BYTES, CHUNKS, DIGEST, MOST_BYTES, MOST_CHUNKS, Files


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_a_file_comes_back_as_it_was(bus: Bus, size: int) -> None:
    files = Files(bus)
    content = bytes(range(251)) * (size // 251 + 1)
    assert not await files.has("T1.C1.1-1/F1")
    await files.put("T1.C1.1-1/F1", content[:size])
    assert await files.has("T1.C1.1-1/F1")
    assert await files.get("T1.C1.1-1/F1") == content[:size]
    assert await files.get("T1.C1.1-1/F2") is None


async def test_a_file_is_written_over_whole(bus: Bus) -> None:
    files = Files(bus)
    await files.put("a/b", b"x" * (2 * CHUNK_BYTES))
    await files.put("a/b", b"short")
    assert await files.get("a/b") == b"short"


async def test_a_file_that_lacks_a_part_is_none(bus: Bus) -> None:
    files = Files(bus)
    await files.put("a/b", b"x" * (2 * CHUNK_BYTES))
    await bus.api("STREAM.PURGE.FILES", {"filter": "files.a.b.1"})
    assert await files.get("a/b") is None


async def test_what_is_larger_than_any_file_is_refused_before_anything_is_stored(bus: Bus) -> None:
    with pytest.raises(ValueError, match="more than"):
        await Files(bus).put("a/b", bytes(MOST_BYTES + 1))
    assert await bus.last("FILES", "files.>") is None


@pytest.mark.parametrize("name", ["", "a b", "a/*", ">", "a//b", "a\r\nPUB x", "a."])
async def test_what_is_no_name_names_no_file(bus: Bus, name: str) -> None:
    files = Files(bus)
    assert await files.get(name) is None
    assert not await files.has(name)
    with pytest.raises(ValueError, match="is no name of a file"):
        await files.put(name, b"")


@pytest.mark.parametrize("count", ["", "x", "0", "-1", "1.5", "1_0", str(MOST_CHUNKS + 1), "9" * 5000])
async def test_a_file_of_a_strange_number_of_chunks_is_none(bus: Bus, count: str) -> None:
    for digest in (sha256(b"x").hexdigest(), sha256(b"").hexdigest()):
        await bus.publish_raw("files.a.b.0", b"x", {CHUNKS: count, DIGEST: digest})
        assert await Files(bus).get("a/b") is None


@pytest.mark.parametrize("large", [0, 1])
async def test_a_file_with_a_chunk_larger_than_any_of_ours_is_given_up_there(bus: Bus, large: int) -> None:
    chunks = [b"x", b"x", b"x"]
    chunks[large] *= CHUNK_BYTES + 1
    headers = {CHUNKS: "3", DIGEST: sha256(b"".join(chunks)).hexdigest()}
    for number, chunk in enumerate(chunks):
        await bus.publish_raw(f"files.a.b.{number}", chunk, {} if number else headers)
    assert await Files(bus).get("a/b") is None


async def test_a_file_whose_chunks_are_too_large_for_the_broker_could_not_be_stored(bus: Bus) -> None:
    bus.client._max_payload = CHUNK_BYTES  # what an operator's own broker may say
    with pytest.raises(Unavailable, match="a/b could not be stored"):
        await Files(bus).put("a/b", b"x" * CHUNK_BYTES)
