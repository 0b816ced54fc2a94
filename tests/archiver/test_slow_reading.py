"""A session is read though the store is slow, silent, or fails now and then: every answer gets whoever asks further."""

import asyncio
import threading
from collections import Counter

import msgspec
import pytest

from schemas.archive import LogPage, ReadLog
from schemas.keys import SessionKey
from services.archiver import app, reading, unpacked
from services.archiver.backend import Corrupt, StoreError, Unavailable
from services.archiver.folder import Folder
from services.archiver.listings import Listings
from services.archiver.reading import Reading
from services.archiver.records import pack
from services.archiver.store import Store
from tests.archiver.stage import KEY, archiver, end, reaches, until


class Moody(Folder):
    """A folder that does not give some of its objects, or not yet."""

    silent: frozenset[str] = frozenset()
    lists_slowly = False
    listed = 0

    def __init__(self, *arguments, **more) -> None:
        super().__init__(*arguments, **more)
        self.fails: dict[str, StoreError] = {}
        self.lies: dict[str, bytes] = {}
        self.speaks = threading.Event()
        self._counting = threading.Lock()
        self.reads: Counter[str] = Counter()

    def read(self, name: str, until: float) -> bytes:
        with self._counting:
            self.reads[name] += 1
        if name in self.fails:
            raise self.fails[name]
        if name in self.silent:
            self.speaks.wait(20)
        return self.lies.get(name) or super().read(name, until)

    def page(self, prefix: str, after: str, limit: int, until: float):
        self.listed += 1
        if self.lists_slowly:
            self.speaks.wait(20)
        return super().page(prefix, after, limit, until)


OBJECTS = 20


@pytest.fixture
async def session(bus, folder) -> list[int]:
    """A session of many small objects; the sequences of its records."""
    sent = []
    async with archiver(bus, folder, flush_seconds=0.05):
        for turn in range(OBJECTS):
            sent.append(await end(bus, turn))
            await reaches(folder, sent[-1])
    return sent


@pytest.fixture
async def moody(folder):
    backend = Moody(folder)
    store = Store(backend)
    yield backend, Reading(store, Listings(store))
    backend.speaks.set()
    await store.close()


async def names(backend: Moody) -> list[str]:
    infos = await asyncio.to_thread(backend.page, "v1/", "", 500, 1e12)
    return [info.name for info in infos if info.name.endswith(".jsonl.gz")]


async def page(reading_: Reading, after: int = 0) -> LogPage:
    answer = await reading_.answer(ReadLog(session=str(KEY), after=after))
    assert isinstance(answer, LogPage), answer
    return answer


def sequences(answer: LogPage) -> list[int]:
    return [msgspec.json.decode(raw)["seq"] for raw in answer.records]


async def test_what_comes_before_an_object_that_is_waited_for_is_given(
    session, moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 6.0)
    backend, reads = moody
    backend.silent = frozenset({(await names(backend))[10]})
    first = await page(reads)
    assert (sequences(first), first.through, first.more) == (session[:10], session[9], True)
    with pytest.raises(Unavailable, match="ask again"):
        await reads.answer(ReadLog(session=str(KEY), after=first.through))
    backend.speaks.set()
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 20.0)
    rest = await page(reads, first.through)
    assert (sequences(rest), rest.more) == (session[10:], False)
    assert max(backend.reads.values()) == 1


@pytest.mark.parametrize("error", [Unavailable, Corrupt])
async def test_an_object_that_the_store_does_not_give_ends_a_page_and_is_asked_for_again(
    session, moody, error: type[StoreError]
) -> None:
    backend, reads = moody
    backend.fails = {(await names(backend))[5]: error("what the store says")}
    first = await page(reads)
    assert (sequences(first), first.more) == (session[:5], True)
    with pytest.raises(error, match="what the store says"):
        await page(reads, first.through)
    backend.fails = {}
    assert sequences(await page(reads, first.through)) == session[5:]


async def test_a_record_that_cannot_be_read_ends_a_page_before_it(session, moody) -> None:
    backend, reads = moody
    backend.lies = {(await names(backend))[5]: pack([b"no record\n"])}
    first = await page(reads)
    assert (sequences(first), first.more) == (session[:5], True)
    with pytest.raises(Corrupt, match="cannot be read"):
        await page(reads, first.through)


async def test_a_reading_under_way_is_shared_by_all_who_ask(session, moody) -> None:
    backend, reads = moody
    backend.silent = frozenset({(await names(backend))[0]})
    asking = [asyncio.create_task(page(reads)) for _ in range(5)]

    async def begun() -> bool:
        return bool(backend.reads)

    await until(begun)
    backend.speaks.set()
    assert [sequences(each) for each in await asyncio.gather(*asking)] == [session] * 5
    assert max(backend.reads.values()) == 1


async def test_a_listing_that_takes_long_is_shared_with_the_next_one_to_ask(
    session, moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 3.0)
    backend, reads = moody
    backend.lists_slowly = True
    with pytest.raises(Unavailable, match="ask again"):
        await page(reads)
    backend.speaks.set()
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 20.0)
    assert sequences(await page(reads)) == session
    assert backend.listed == 1


async def test_what_is_remembered_is_bounded_and_the_latest_stays(
    session, moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "AT_HAND", unpacked._LEAST * OBJECTS // 2)
    backend, reads = moody
    for _ in range(2):
        assert sequences(await page(reads)) == session
    assert sequences(await page(reads, session[-2])) == session[-1:]
    everything = await names(backend)
    assert [backend.reads[name] for name in everything] == [2] * OBJECTS


async def test_what_another_archiver_deleted_is_missed_a_moment_later(
    session, moody, folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "LIFE", 0.1)
    backend, reads = moody
    assert sequences(await page(reads)) == session
    other = Store(Folder(folder))
    for name in await names(backend):
        await other.delete_all_generations(name)
    await other.close()

    async def missed() -> bool:
        return not (await page(reads)).records

    await until(missed)


async def test_a_silent_store_keeps_threads_for_what_is_written(
    session, moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 3.0)
    backend, _ = moody
    store = Store(backend)
    reads = Reading(store, Listings(store))
    backend.silent = frozenset(await names(backend))
    with pytest.raises(Unavailable, match="ask again"):
        await page(reads)
    async with asyncio.timeout(5):
        assert await store.create("v1/T1/C1/2-0/00000001.jsonl.gz", b"", {}, "application/gzip")
    backend.speaks.set()
    await store.close()


async def test_eight_sessions_that_the_store_keeps_waiting_keep_nobody_from_one_that_is_at_hand(
    bus, folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_SECONDS", 20.0)
    others = [SessionKey("T1", "C2", f"1712345678-{number:06}") for number in range(8)]
    async with archiver(bus, folder, flush_seconds=0.05):
        for key in (KEY, *others):
            await reaches(folder, await end(bus, 1, key), key)
    backend = Moody(folder)
    monkeypatch.setattr(app, "backend_of", lambda settings: backend)

    async def asked(key: SessionKey) -> LogPage:
        return LogPage.decode(await bus.request(f"archiver.read.{key}", ReadLog(session=str(key))))

    async def all_looked_for() -> bool:
        return backend.listed >= before + len(others)

    async with archiver(bus, folder):
        assert len((await asked(KEY)).records) == 1
        before, backend.silent = backend.listed, frozenset(await names(Moody(folder)))
        waiting = [asyncio.create_task(asked(key)) for key in others]
        await until(all_looked_for)
        assert len((await asked(KEY)).records) == 1
        assert not any(task.done() for task in waiting)
        backend.speaks.set()
        assert [len(page.records) for page in await asyncio.gather(*waiting)] == [1] * len(others)
