"""What strangers write into the log, ask of the archive, and leave in its folder."""

import asyncio
import gzip
import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.archive import Deleted, DeleteSession, ListSessions, LogPage, ReadLog, Refused, SessionList
from schemas.base import Family
from schemas.operations import DeadLetter
from services.archiver.backend import Corrupt, ObjectInfo
from services.archiver.folder import Folder
from services.archiver.handlers import Requests
from services.archiver.objects import Span, object_name, plan_object, position, session_prefix, summary_name
from services.archiver.records import Record
from services.archiver.store import Store
from services.runtime.follow import read
from services.runtime.metrics import UNREADABLE
from services.runtime.tasks import cancel
from tests.archiver.stage import KEY, OTHER, acknowledged, archived, archiver, end, is_whole, reaches
from tests.mutations import ODD, golden, mutated, strangers
from tests.rights.conftest import publish_raw

FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANSWERS = Family.of(LogPage, SessionList, Deleted, Refused)
REQUESTS = {
    f"archiver.read.{KEY}": golden("archive.read-log") | {"session": str(KEY)},
    ListSessions.subject(): golden("archive.list-sessions") | {"after": str(KEY)},
    DeleteSession.subject(): golden("archive.delete-session") | {"session": str(OTHER), "dry_run": True},
}
numbers = itertools.count(1)


@FEW
@given(written=strangers("in", "control", "out", "end", "state"))
async def test_what_is_no_message_is_archived_as_it_came(bus, written):
    with tempfile.TemporaryDirectory() as folder:
        async with archiver(bus, Path(folder), flush_seconds=0.05):
            for leaf, payload in written:
                place = f"{leaf}.{next(numbers)}" if leaf in {"in", "end"} else leaf
                await bus.publish_raw(f"session.{KEY}.{place}", payload, {})
            await reaches(Path(folder), await end(bus, next(numbers)))
            await acknowledged(bus)
        await is_whole(bus, Path(folder))
        await bus.api("STREAM.PURGE.SESSIONS", {})


@pytest.mark.parametrize("place", [b"\xff\xfe", b"a\x0b1"])
async def test_a_subject_that_is_no_text_holds_nobody_up(bus, folder, place):
    async with archiver(bus, folder):
        await publish_raw(bus.client, f"session.{KEY}.end.".encode() + place)
        await reaches(folder, await end(bus))
        await reaches(folder, await end(bus, key=OTHER), OTHER)
        await acknowledged(bus)
    assert len(await archived(folder)) == 2


async def test_what_belongs_to_no_session_is_a_dead_letter_and_holds_nobody_up(bus, folder):
    async with archiver(bus, folder):
        for nobody in ("session.ü.C1.1-1.out", "session.-T1.C1.1-1.in.a", f"session.T1.C1.{'x' * 64}.state"):
            await bus.publish_raw(nobody, b"{}", {})
        await reaches(folder, await end(bus))
        await acknowledged(bus)
    letters = [DeadLetter.decode(each.data) for each in await read(bus, "DEADLETTER", ["dead.archiver.>"])]
    assert len(letters) == 3
    assert all("is not a name" in letter.reason for letter in letters)


@FEW
@given(asked=st.sampled_from(sorted(REQUESTS)).flatmap(lambda s: st.tuples(st.just(s), mutated(REQUESTS[s]))))
async def test_every_request_gets_its_answer(bus, service, asked):
    subject, payload = asked
    assert ANSWERS.decode((await bus.client.request(subject, payload, timeout=5)).data)
    page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    assert len(page.records) == 1


@pytest.fixture
async def service(bus, folder):
    """An archiver that holds one event of one session."""
    async with archiver(bus, folder) as running:
        await reaches(folder, await end(bus))
        await acknowledged(bus)
        yield running


async def test_an_answer_that_is_too_large_is_told_and_the_next_one_comes(bus):
    async def answer(request):
        return Refused(reason="x" * request.after)

    working = asyncio.create_task(Requests(bus, "archiver.read", ReadLog, answer).run())
    large = Refused.decode(await bus.request("archiver.read", ReadLog(session="", after=5 * 2**20)))
    small = Refused.decode(await bus.request("archiver.read", ReadLog(session="", after=3)))
    await cancel(working)
    assert "larger than the bus carries" in large.reason
    assert small.reason == "xxx"


async def test_a_record_that_was_damaged_is_told_by_one_sentence_and_counted(bus, folder):
    damaged, before = UNREADABLE.labels("archive")._value, UNREADABLE.labels("archive")._value.get()
    store = Store(Folder(folder))
    record = Record(seq=1, subject=f"session.{KEY}.out", time=datetime.now(UTC), headers={}, payload=b"{}")
    planned = plan_object(KEY, "SESSIONS", None, [record])
    await store.create(planned.name, gzip.compress(b'{"seq":\n'), planned.metadata, "application/gzip")
    async with archiver(bus, folder):
        refused = Refused.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    await store.close()
    assert damaged.get() == before + 1
    assert planned.name in refused.reason
    assert "restore it from a backup" in refused.reason


async def test_a_summary_that_was_damaged_hides_no_session_from_the_list(bus, folder):
    store = Store(Folder(folder))
    await store.replace(summary_name(KEY), b"{}", {}, None)
    (folder / summary_name(KEY)).write_bytes(b"[]")
    async with archiver(bus, folder):
        for key in (KEY, OTHER):
            await reaches(folder, await end(bus, key=key), key)
        listed = SessionList.decode(await bus.request("archiver.list", ListSessions()))
    await store.close()
    assert [(one.session, one.summary) for one in listed.sessions] == [(str(KEY), None), (str(OTHER), None)]


async def test_what_others_left_beside_the_objects_is_passed_over(bus, folder):
    store = Store(Folder(folder))
    for name in ("copy.jsonl.gz", "1.jsonl.gz", "00000001.jsonl.gz.bak"):
        await store.create(session_prefix(KEY) + name, b"?", {}, "application/gzip")
    async with archiver(bus, folder):
        await end(bus)
        await acknowledged(bus)
        page = LogPage.decode(await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY))))
    await store.close()
    assert len(page.records) == 1


METADATA = {
    "schema": "1",
    "session": str(KEY),
    "stream": "SESSIONS",
    "count": "2",
    "first-seq": "3",
    "last-seq": "8",
    "first-time": "2026-01-02T03:04:08.678901Z",
    "last-time": "2026-01-02T03:04:13.678901Z",
}


@given(
    st.dictionaries(
        st.sampled_from(sorted(METADATA)), st.sampled_from([s for s in ODD if isinstance(s, str)])
    )
)
def test_metadata_with_something_wrong_is_corrupt_or_can_be_worked_with(wrong):
    info = ObjectInfo(
        name=object_name(KEY, 1),
        size=0,
        crc32c=0,
        generation=1,
        metadata=METADATA | wrong,
        created=datetime.now(UTC),
    )
    try:
        span = Span.read(info)
    except Corrupt:
        return
    assert position([info]).last_seq >= 0
    assert span.last_time < datetime.now(UTC)
