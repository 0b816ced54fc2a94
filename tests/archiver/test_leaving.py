"""What leaves the stream and the archive, and what must not."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from schemas.archive import Deleted, DeleteSession, LogPage, ReadLog, Refused
from schemas.base import now
from schemas.buckets import OpenTurn, Summary, Turns, Waiting
from schemas.operations import Audited
from services.archiver.archive import Archive
from services.archiver.backend import StoreError
from services.archiver.core import purge_before
from services.archiver.deletion import Deletion
from services.archiver.folder import Folder
from services.archiver.health import StoreHealth
from services.archiver.listings import Listings
from services.archiver.objects import object_name, session_prefix
from services.archiver.purge import Purge
from services.archiver.retention import Expiry, Sweeps
from services.archiver.settings import ArchiverSettings, load_settings
from services.archiver.store import Store
from services.archiver.stream import SessionsStream
from services.runtime.bucket import Bucket
from services.runtime.errors import SettingsError
from services.runtime.follow import read
from services.runtime.tasks import cancel
from services.runtime.topology import apply_map
from tests.archiver.stage import (
    ANN,
    KEY,
    OTHER,
    acknowledged,
    archived,
    archiver,
    end,
    reaches,
    say,
    tell,
    until,
)

WEEK = timedelta(days=7)


def later(**ahead):
    return lambda: now() + timedelta(**ahead)


@pytest.fixture
async def store(folder):
    store = Store(Folder(folder))
    yield store
    await store.close()


async def in_stream(bus, key=KEY):
    return [delivery.sequence for delivery in await read(bus, "SESSIONS", [f"session.{key}.>"])]


async def archive_a_turn(bus, folder):
    async with archiver(bus, folder):
        await say(bus)
        await tell(bus)
        await reaches(folder, last := await end(bus))
        await acknowledged(bus)
    return last


async def scheduler_has_heard(bus):
    for delivery in await read(bus, "KV_turns", ["$KV.turns.>"]):
        assert delivery
    batch = await bus.api("CONSUMER.INFO.SESSIONS.scheduler", None)
    subscription = await bus.client.jetstream().pull_subscribe_bind("scheduler", "SESSIONS")
    for message in await subscription.fetch(batch["num_pending"], timeout=5):
        await message.ack_sync()


def purge(bus, store, clock):
    return Purge(bus, Listings(store), SessionsStream(bus), WEEK, clock)


async def test_what_is_archived_and_old_leaves_the_stream_and_is_still_read(bus, folder, store):
    last = await archive_a_turn(bus, folder)
    await scheduler_has_heard(bus)
    assert await purge(bus, store, later(days=6)).sweep() == 0
    assert await purge(bus, store, later(days=8)).sweep() == 3
    assert await in_stream(bus) == []
    async with archiver(bus, folder):
        page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
        assert (len(page.records), page.through) == (3, last)
        await reaches(folder, await end(bus, 2))
    assert len(await archived(folder)) == 4


async def test_what_is_not_archived_stays_however_old(bus, folder, store):
    await archive_a_turn(bus, folder)
    late = await tell(bus)
    await say(bus, key=OTHER)
    await scheduler_has_heard(bus)
    assert await purge(bus, store, later(days=800)).sweep() == 3
    assert await in_stream(bus) == [late]
    assert len(await in_stream(bus, OTHER)) == 1


async def test_what_a_consumer_has_not_heard_stays(bus, folder, store):
    await archive_a_turn(bus, folder)
    assert await purge(bus, store, later(days=8)).sweep() == 0


async def test_a_session_whose_objects_cannot_be_read_keeps_no_other_in_the_stream(bus, folder, store):
    await store.create(object_name(OTHER, 1), b"?", {"whose": "?"}, "application/gzip")
    kept = await end(bus, key=OTHER)
    async with archiver(bus, folder):
        await reaches(folder, await end(bus))

        async def is_counted():
            return REGISTRY.get_sample_value("threadmill_archive_corrupt_sessions") == 1

        await until(is_counted)
    await scheduler_has_heard(bus)
    assert await purge(bus, store, later(days=8)).sweep() == 1
    assert await in_stream(bus) == []
    assert await in_stream(bus, OTHER) == [kept]


async def test_what_a_rolled_back_broker_gave_the_sequences_of_others_stays(bus, folder, store):
    await archive_a_turn(bus, folder)
    await bus.api("STREAM.DELETE.SESSIONS", None)
    await apply_map(bus, pools=("default",))
    lost = [await tell(bus), await tell(bus)]
    async with archiver(bus, folder):
        await reaches(folder, new := await end(bus, 2))
        await acknowledged(bus)
    await scheduler_has_heard(bus)
    assert await purge(bus, store, later(days=8)).sweep() == 0
    assert await in_stream(bus) == [*lost, new]


async def test_what_is_archived_leaves_the_stream_though_its_last_event_is_gone_from_it(bus, folder, store):
    last = await archive_a_turn(bus, folder)
    await bus.api("STREAM.MSG.DELETE.SESSIONS", {"seq": last})
    await say(bus, key=OTHER)
    await scheduler_has_heard(bus)
    assert await purge(bus, store, later(days=8)).sweep() == 2
    assert await in_stream(bus) == []


async def test_what_an_open_turn_or_a_waiting_input_needs_stays(bus, folder, store):
    last = await archive_a_turn(bus, folder)
    await scheduler_has_heard(bus)
    turns = Bucket(bus, "turns", Turns)
    turn = OpenTurn(turn=last, user=ANN, opened_at=now(), deadline=now())
    await turns.create(str(KEY), Turns(open=turn))
    assert await purge(bus, store, later(days=8)).sweep() == 2
    assert await in_stream(bus) == [last]


@pytest.mark.parametrize(
    ("archived_to", "old", "turns", "floors", "before"),
    [
        (10, 100, None, [99], 11),
        (10, 5, None, [99], 5),
        (10, 100, None, [99, 3], 4),
        (10, 100, Turns(waiting=(Waiting(sequence=7, id="a", user=ANN, at=now()),)), [99], 7),
        (0, 100, None, [99], 1),
    ],
)
def test_nothing_leaves_before_all_are_done_with_it(archived_to, old, turns, floors, before):
    assert purge_before(archived_to, old, turns, floors) == before


async def test_a_session_is_deleted_from_archive_stream_and_summaries_with_a_trail(bus, folder):
    await archive_a_turn(bus, folder)
    await Bucket(bus, "sessions", Summary).create(str(KEY), Summary(status="idle", user=ANN, title="secret"))
    request = DeleteSession(session=str(KEY), by="U1")
    async with archiver(bus, folder):
        await reaches(folder, await end(bus, 2))
        await acknowledged(bus)
        await bus.request(DeleteSession.subject(), DeleteSession(session=str(KEY), by="U1", dry_run=True))
        assert len(await archived(folder)) == 4
        told = Deleted.decode(await bus.request(DeleteSession.subject(), request))
        again = Deleted.decode(await bus.request(DeleteSession.subject(), request))
        page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    assert (told.objects, told.messages, told.recoverable_until) == (2, 4, None)
    assert (again.objects, again.messages) == (0, 0)
    assert page.records == ()
    assert await archived(folder) == []
    assert await in_stream(bus) == []
    assert (await Bucket(bus, "sessions", Summary).get(str(KEY))).value is None
    (trail,) = await read(bus, "AUDIT", ["audit.T1.deleted"])
    assert Audited.decode(trail.data).who == "U1"
    left = [path for path in folder.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert left == []


async def test_a_deletion_that_was_cut_off_before_its_last_step_is_ended_by_the_next(bus, folder, store):
    await archive_a_turn(bus, folder)
    deletion = Deletion(bus, store, Listings(store), SessionsStream(bus))
    request = DeleteSession(session=str(KEY), by="U1")
    await deletion.answer(request)
    summaries = Bucket(bus, "sessions", Summary)
    await summaries.create(str(KEY), Summary(status="idle", user=ANN, title="left over"))
    await deletion.answer(msgspec.structs.replace(request, dry_run=True))
    assert (await summaries.get(str(KEY))).value
    await deletion.answer(request)
    assert (await summaries.get(str(KEY))).value is None


async def test_a_deleted_session_goes_on_with_what_is_said_next(bus, folder):
    await archive_a_turn(bus, folder)
    async with archiver(bus, folder):
        await bus.request(DeleteSession.subject(), DeleteSession(session=str(KEY), by="U1"))
        new = await end(bus, 5)
        await reaches(folder, new)
        page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    assert [record.seq for record in await archived(folder)] == [new]
    assert len(page.records) == 1


async def test_an_archiver_that_read_before_the_deletion_puts_nothing_back(bus, folder, store, monkeypatch):
    last = await archive_a_turn(bus, folder)
    newer = await tell(bus)
    stream, listings = SessionsStream(bus), Listings(store)
    archive = Archive(bus, store, listings, stream)
    await listings.of(KEY)
    create = store.create

    async def delete_first(*args):
        monkeypatch.setattr(store, "create", create)
        deletion = Deletion(bus, store, Listings(store), stream)
        await deletion.answer(DeleteSession(session=str(KEY), by="U1"))
        return await create(*args)

    monkeypatch.setattr(store, "create", delete_first)
    assert await archive.bring_up(KEY, newer) >= newer > last
    assert await archived(folder) == []


async def test_a_session_with_an_open_turn_is_not_deleted(bus, folder):
    last = await archive_a_turn(bus, folder)
    turn = OpenTurn(turn=last, user=ANN, opened_at=now(), deadline=now())
    await Bucket(bus, "turns", Turns).create(str(KEY), Turns(open=turn))
    async with archiver(bus, folder):
        answer = await bus.request(DeleteSession.subject(), DeleteSession(session=str(KEY), by="U1"))
    assert "open" in Refused.decode(answer).reason
    assert len(await archived(folder)) == 3


async def test_a_team_keeps_its_sessions_for_its_own_days(bus, folder, store):
    await archive_a_turn(bus, folder)
    stream, listings = SessionsStream(bus), Listings(store)

    async def gone(ahead, **rules):
        settings = ArchiverSettings(folder=folder, **rules)
        deletion = Deletion(bus, store, listings, stream)
        return await Expiry(store, stream, deletion, settings, later(days=ahead)).sweep()

    assert await gone(4000) == []
    assert await gone(29, retention_days=30) == []
    assert await gone(31, retention_days=30, team_retention_days=("T1=0",)) == []
    assert await gone(31, retention_days=30, retention_dry_run=True) == [KEY]
    assert len(await archived(folder)) == 3
    assert await gone(31, team_retention_days=("T1=30",)) == [KEY]
    assert await archived(folder) == []
    assert await gone(31, retention_days=30) == []


class Holding(Folder):
    """A place that lets go of nothing of one session, as a bucket with a hold does."""

    def delete(self, name, until):
        if name.startswith(session_prefix(KEY)):
            raise StoreError(f"{name}: the bucket kept 1 generations; end their holds and delete again")
        return super().delete(name, until)


async def test_a_session_that_cannot_be_deleted_is_told_once_and_keeps_no_other(bus, folder):
    await archive_a_turn(bus, folder)
    async with archiver(bus, folder):
        await reaches(folder, await end(bus, key=OTHER), OTHER)
    store, stream = Store(Holding(folder)), SessionsStream(bus)
    deletion = Deletion(bus, store, Listings(store), stream)
    settings = ArchiverSettings(folder=folder, retention_days=30)
    expiry = Expiry(store, stream, deletion, settings, later(days=31))
    with capture_logs() as told:
        assert await expiry.sweep() == [OTHER]
        left = [info async for info in store.list(session_prefix(KEY))]
        assert await expiry.sweep() == []
    assert [info async for info in store.list(session_prefix(KEY))] == left
    (kept,) = [line for line in told if line["event"] == "a session stays past its days"]
    assert (kept["session"], "end their holds" in kept["reason"]) == (str(KEY), True)
    await store.close()


async def test_retention_that_cannot_go_on_keeps_nothing_in_the_stream(bus, folder, store):
    class Refused:
        async def sweep(self):
            raise StoreError("the bucket refused; check the account's rights")

    async def purged():
        return not await in_stream(bus)

    sweeps = Sweeps(purge(bus, store, later(days=8)), Refused(), StoreHealth(), 0.01)
    running = asyncio.create_task(sweeps.run())
    for _ in range(2):
        await archive_a_turn(bus, folder)
        await scheduler_has_heard(bus)
        await until(purged)
    await cancel(running)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"FOLDER": "/a", "BUCKET": "b"},
        {"FOLDER": "/a", "KEEP_DAYS": "0.5"},
        {"FOLDER": "/a", "TEAM_RETENTION_DAYS": "T1"},
        {"FOLDER": "/a", "RETENTION_DAYS": "-1"},
        {"FOLDER": "/a", "RETENTION_DAYS": "9999999"},
    ],
)
def test_settings_that_cannot_be_used_say_so(environ):
    with pytest.raises(SettingsError):
        load_settings({f"THREADMILL_{name}": value for name, value in environ.items()})


@pytest.mark.parametrize("days", ["T1=-1", "T2=3,T1=-1", "T 1=3", "=3", "T1=9999999", "T1=1.5"])
def test_days_of_a_team_that_are_none_are_told_with_what_keeps_for_ever(days):
    environ = {"THREADMILL_FOLDER": "/a", "THREADMILL_TEAM_RETENTION_DAYS": days}
    with pytest.raises(SettingsError, match="0 keeps a team's sessions for ever"):
        load_settings(environ)
