"""What is asked of the archiver."""

import msgspec
import pytest

from schemas.archive import DeleteSession, ListSessions, LogPage, ReadLog, Refused, SessionList
from schemas.buckets import Summary
from schemas.operations import Audited
from schemas.state import StateAppended
from services.runtime.bucket import Bucket
from services.runtime.bus import Draft
from services.runtime.follow import read
from tests.archiver.stage import ANN, KEY, OTHER, acknowledged, archiver, end, reaches, say, tell


async def pages(bus, **request):
    after, more = 0, True
    while more:
        answer = await bus.request(f"archiver.read.{KEY}", ReadLog(session=str(KEY), after=after, **request))
        page = LogPage.decode(answer)
        yield page, len(answer)
        assert page.through > after or not page.more
        after, more = page.through, page.more


async def test_a_log_comes_in_pages_of_a_megabyte_each_record_once(bus, folder):
    async with archiver(bus, folder):
        sent = [await tell(bus, f"{n}" + "x" * 100_000) for n in range(35)]
        sent.append(await tell(bus, "x" * 2_000_000))
        sent.append(await end(bus))
        await reaches(folder, sent[-1])
        found = [page async for page in pages(bus)]
    assert [msgspec.json.decode(raw)["seq"] for page, _ in found for raw in page.records] == sent
    assert len(found) > 4
    assert all(size < 1.1 * 2**20 or len(page.records) == 1 for page, size in found)


async def test_state_alone_is_given_with_the_place_where_the_stream_goes_on(bus, folder):
    async with archiver(bus, folder, flush_seconds=0.05):
        for n in range(80):
            state = StateAppended(batch=f"{n}", entries="[]")
            if n % 40 == 0:
                await bus.publish(Draft(subject=state.subject(KEY), message=state))
            await reaches(folder, last := await end(bus, n))
        found = [page async for page, _ in pages(bus, only="state")]
    batches = [msgspec.json.decode(raw)["payload"]["batch"] for page in found for raw in page.records]
    assert batches == ["0", "40"]
    assert found[-1].through == last
    assert len(found) == 2  # a page looks at so many objects and no more


async def test_a_session_that_nobody_knows_is_empty(bus, folder):
    async with archiver(bus, folder):
        page = LogPage.decode(await bus.request(f"archiver.read.{OTHER}", ReadLog(session=str(OTHER))))
    assert (page.records, page.through, page.more) == ((), 0, False)


async def trail(bus):
    entries = [Audited.decode(each.data) for each in await read(bus, "AUDIT", ["audit.>"])]
    return [(entry.team, entry.who, entry.did, entry.session) for entry in entries]


async def test_what_an_operator_reads_is_in_the_trail_once_and_what_a_worker_reads_is_not(bus, folder):
    async with archiver(bus, folder):
        sent = [await tell(bus, "x" * 600_000) for _ in range(4)]
        sent.append(await end(bus))
        await reaches(folder, sent[-1])
        read_by_ann = [page async for page, _ in pages(bus, by="ann", reading="r1")]
        assert len(read_by_ann) > 1
        assert await trail(bus) == [("T1", "ann", "read", str(KEY))]
        assert [page async for page, _ in pages(bus)]
        assert [page async for page, _ in pages(bus, by="bob", reading="r2", export=True)]
    assert await trail(bus) == [("T1", "ann", "read", str(KEY)), ("T1", "bob", "exported", str(KEY))]


async def test_without_a_trail_nothing_is_given_to_an_operator(bus, folder):
    async with archiver(bus, folder):
        await reaches(folder, await end(bus))
        for reading in ("a b", "x\r\nNats-Rollup: all"):
            request = ReadLog(session=str(KEY), by="ann", reading=reading)
            assert "cannot be read" in Refused.decode(await bus.request(request.subject(), request)).reason
        await bus.api("STREAM.DELETE.AUDIT", None)
        request = ReadLog(session=str(KEY), by="ann", reading="r1")
        answer = await bus.request(request.subject(), request, deadline=30)
    assert "did not answer the archiver" in Refused.decode(answer).reason


@pytest.mark.parametrize("subject", [f"archiver.read.{KEY}", "archiver.list", "archiver.delete"])
@pytest.mark.parametrize("session", ["../../etc", "", "a.b", "T1.C1.1-0\n", "T1.C1.1/0", ">.>.>"])
async def test_what_is_no_request_is_refused(bus, folder, subject, session):
    kinds = {
        f"archiver.read.{KEY}": ReadLog(session=session),
        "archiver.list": ListSessions(team=session or "../x"),
        "archiver.delete": DeleteSession(session=session, by="U1"),
    }
    async with archiver(bus, folder):
        answer = Refused.decode(await bus.request(subject, kinds[subject]))
        reply = await bus.client.request(subject, b"\xff{", timeout=5)
    assert "cannot be read" in answer.reason
    assert "cannot be read" in Refused.decode(reply.data).reason


async def test_sessions_are_listed_by_place_and_person(bus, folder, monkeypatch):
    monkeypatch.setattr("services.archiver.sessions._PAGE", 2)
    keys = [type(KEY)("T1", channel, f"{n}-0") for n, channel in enumerate(["C1", "C1", "C2", "C2", "C3"], 1)]
    summaries = Bucket(bus, "sessions", Summary)
    await summaries.create(str(keys[2]), Summary(status="idle", user=ANN, title="mine"))

    async def listed(**request):
        found, more, after = [], True, ""
        while more:
            answer = await bus.request("archiver.list", ListSessions(after=after, **request))
            page = SessionList.decode(answer)
            found += page.sessions
            more, after = page.more, page.through
        return found

    async with archiver(bus, folder) as service:
        for key in keys:
            last = await end(bus, key=key)
            await reaches(folder, last, key)
        await acknowledged(bus)
        await service.drain()
        everything = await listed()
        assert [one.session for one in everything] == [str(key) for key in keys]
        assert everything[-1].last_sequence == last
        assert all(one.objects == 1 and one.bytes > 0 for one in everything)
        assert [one.session for one in await listed(team="T1", channel="C1")] == [str(k) for k in keys[:2]]
        (mine,) = await listed(user="U1")
        assert (mine.session, mine.summary.title) == (str(keys[2]), "mine")
        assert await listed(team="T2") == []


async def test_a_record_said_twice_by_the_bus_is_archived_under_its_own_sequence(bus, folder):
    async with archiver(bus, folder):
        first, again = await say(bus, input_id="1"), await say(bus, input_id="2")
        await reaches(folder, await end(bus, again))
        (page, _), *_ = [page async for page in pages(bus)]
    assert [msgspec.json.decode(raw)["seq"] for raw in page.records][:2] == [first, again]
