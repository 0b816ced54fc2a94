"""From the stream into the folder: everything, once, in order."""

import asyncio

from schemas.archive import ListSessions, SessionList
from schemas.buckets import Summary
from services.archiver.app import wire
from services.archiver.archive import Archive
from services.archiver.folder import Folder
from services.archiver.listings import Listings
from services.archiver.objects import session_prefix, summary_name
from services.archiver.settings import ArchiverSettings
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.health import Readiness
from services.runtime.tasks import cancel
from tests.archiver.stage import (
    ANN,
    KEY,
    OTHER,
    acknowledged,
    archived,
    archiver,
    end,
    is_whole,
    reaches,
    say,
    tell,
    until,
)


async def objects(folder, key=KEY):
    store = Store(Folder(folder))
    found = [info async for info in store.list(session_prefix(key))]
    await store.close()
    return [info for info in found if info.name.endswith(".gz")]


async def test_a_turns_end_puts_the_turn_into_an_object_as_it_came(bus, folder):
    async with archiver(bus, folder):
        await say(bus)
        await tell(bus)
        await reaches(folder, await end(bus))
        await acknowledged(bus)
    assert len(await objects(folder)) == 1
    await is_whole(bus, folder)


async def test_what_no_turn_ends_is_archived_after_a_while(bus, folder):
    async with archiver(bus, folder, flush_seconds=0.2):
        await reaches(folder, await say(bus))
        await acknowledged(bus)
    await is_whole(bus, folder)


async def test_what_fills_an_object_does_not_wait(bus, folder):
    async with archiver(bus, folder):
        for _ in range(10):
            last = await tell(bus, "x" * 10**6)
        await until(lambda: objects(folder))
        assert (await archived(folder))[-1].seq <= last
        await reaches(folder, await end(bus))
    assert len(await objects(folder)) > 1
    await is_whole(bus, folder)


async def test_a_backlog_of_several_objects_is_cut_where_they_are_full(bus, folder):
    for _ in range(20):
        await tell(bus, "x" * 10**6)
    last = await end(bus)
    async with archiver(bus, folder):
        await reaches(folder, last)
    assert len(await objects(folder)) == 3
    await is_whole(bus, folder)


async def test_two_archivers_share_the_work_and_double_nothing(bus, folder):
    async with archiver(bus, folder, flush_seconds=0.05), archiver(bus, folder, flush_seconds=0.05):
        for n in range(1, 41):
            await asyncio.gather(*(tell(bus, f"{n}", key) for key in (KEY, OTHER) for _ in range(5)))
            await end(bus, n)
            await end(bus, n, OTHER)
        await acknowledged(bus)
    await is_whole(bus, folder)
    await is_whole(bus, folder, OTHER)


async def test_sessions_that_wait_do_not_hold_up_others(bus, folder, monkeypatch):
    monkeypatch.setattr("services.archiver.trigger.PRESSURE", 50)
    async with archiver(bus, folder):
        waiting = [type(KEY)("T1", "C1", f"1-{n}") for n in range(60)]
        for key in waiting:
            await tell(bus, key=key)
        # Nobody ended anything: they are archived because too many wait.
        await until(lambda: archived(folder, waiting[0]))
        await reaches(folder, await end(bus))


async def test_a_poison_subject_is_put_aside(bus, folder):
    async with archiver(bus, folder):
        await bus.publish_raw("session.T1.C1.not~a~key.out", b"{}", {})
        await reaches(folder, await end(bus))
        await acknowledged(bus)
    assert await bus.last("DEADLETTER", "dead.archiver.>")


async def test_a_store_that_is_away_is_waited_for(bus, tmp_path):
    folder = tmp_path / "archive"
    readiness = Readiness({})
    service = await wire(bus, readiness, ArchiverSettings(folder=folder, flush_seconds=0.05))
    running = asyncio.create_task(service.run())
    aside = tmp_path / "aside"
    folder.rename(aside)
    folder.write_text("no folder")
    last = await end(bus)

    async def is_told():
        return readiness.failing() == ["object store"]

    await until(is_told)
    folder.unlink()
    aside.rename(folder)
    await reaches(folder, last)
    await acknowledged(bus)
    assert readiness.failing() == []
    await cancel(running)
    await is_whole(bus, folder)


async def test_a_drain_leaves_nothing_behind(bus, folder):
    async with archiver(bus, folder) as service:
        await say(bus)

        async def heard():
            return not service._trigger.idle

        await until(heard)
        await service.drain()
        assert service._trigger.idle
    await is_whole(bus, folder)


async def test_the_summary_lies_beside_the_objects_and_follows(bus, folder):
    summaries = Bucket(bus, "sessions", Summary)
    revision = await summaries.create(str(KEY), Summary(status="working", user=ANN, title="one"))
    store = Store(Folder(folder))

    async def says(title):
        async def there():
            found = [info.name async for info in store.list(session_prefix(KEY))]
            if summary_name(KEY) in found:
                return Summary.decode(await store.read(summary_name(KEY))).title == title
            return False

        await until(there)

    async with archiver(bus, folder):
        await end(bus)
        await says("one")
        await summaries.put(str(KEY), Summary(status="idle", user=ANN, title="two"), revision)
        await end(bus, 2)
        await says("two")
    await store.close()


async def test_events_of_one_batch_and_odd_payloads_come_back_as_they_were(bus, folder):
    for payload in (b"", b"not json", b'{"a":\n1}', b"\xff\x00"):
        await bus.publish_raw(f"session.{KEY}.out", payload, {"odd": "yes"})
    drafts = [Draft(subject=f"session.{KEY}.end.{n}", message=Summary(status="", user=ANN)) for n in (1, 2)]
    last = await bus.publish_batch(drafts)
    async with archiver(bus, folder):
        await reaches(folder, last)
    await is_whole(bus, folder)


async def test_a_session_whose_archive_cannot_be_understood_waits_alone(bus, folder):
    store = Store(Folder(folder))
    await store.create(f"{session_prefix(OTHER)}00000001.jsonl.gz", b"?", {"whose": "?"}, "application/gzip")
    await store.close()
    kept = await end(bus, key=OTHER)
    readiness = Readiness({})
    service = await wire(bus, readiness, ArchiverSettings(folder=folder))
    running = asyncio.create_task(service.run())
    await reaches(folder, await end(bus))
    assert readiness.failing() == []
    listed = SessionList.decode(await bus.request("archiver.list", ListSessions()))
    assert [one.session for one in listed.sessions] == [str(KEY)]
    await cancel(running)
    assert await bus.at("SESSIONS", kept)


async def test_of_two_archivers_the_one_that_was_overtaken_writes_the_newest_summary(bus, folder):
    summaries = Bucket(bus, "sessions", Summary)
    revision = await summaries.create(str(KEY), Summary(status="working", user=ANN, title="0"))
    store = Store(Folder(folder))
    first, second = (Archive(bus, store, Listings(store), SessionsStream(bus)) for _ in range(2))
    for number, archive in enumerate((first, second, first), start=1):
        told = Summary(status="working", user=ANN, title=str(number))
        revision = await summaries.put(str(KEY), told, revision)
        await archive.summarise(KEY)
    assert Summary.decode(await store.read(summary_name(KEY))).title == "3"
    await store.close()


class Behind(Bus):
    """A leader that gets what a follower has handed out already when it is asked for the third time."""

    asked = 0

    async def has(self, stream, sequence):
        self.asked += 1
        if self.asked == 3:
            await end(self)
        return await super().has(stream, sequence)


async def test_what_a_follower_handed_out_first_is_archived_though_the_leader_lacks_it_yet(bus, folder):
    last = await tell(bus)
    behind, store = Behind(bus.client), Store(Folder(folder))
    archive = Archive(behind, store, Listings(store), SessionsStream(behind))
    assert await archive.bring_up(KEY, last + 1) == last + 1
    assert [record.seq for record in await archived(folder)] == [last, last + 1]
    await store.close()
