"""A hostile worker on the real broker: with its credentials it reaches its own session, and nothing of anybody else's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas.base import MalformedMessage
from schemas.buckets import Lease
from schemas.bus import SCHEDULER
from schemas.events import Notice
from schemas.inputs import Stop
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.rights import inbox
from schemas.worker_rights import NEXT, READINGS, filters, pool_rights, reader, session_rights
from services.runtime.bucket import Bucket
from services.runtime.bus import BATCH_ID, BATCH_SEQUENCE, Bus, Draft
from services.runtime.connection import BusSettings, open_connection
from services.runtime.consume import Consume
from services.runtime.errors import Reject, SettingsError
from services.runtime.follow import Follow
from services.runtime.pull import Delivery
from services.runtime.readers import OwnReaders
from services.runtime.tasks import cancel
from services.scheduler.subjects import decode
from tests.rights.conftest import PATIENCE, Guarded, Refusals, publish_raw, state

MINE = SessionKey("T1", "C1", "1-1")
OTHER = SessionKey("T1", "C1", "2-2")
WORKER = "w-1"
STREAMS = (
    "SESSIONS", "WORK", "DEADLETTER", "AUDIT", "FILES",
    "KV_leases", "KV_turns", "KV_sessions", "KV_ratelimits", "KV_preferences", "KV_writers", "KV_cursors",
)  # fmt: skip
# Where an answer would do harm if it came there.
TARGETS = (
    f"session.{OTHER}.out",
    f"session.{OTHER}.in.x",
    f"session.{OTHER}.control",
    f"session.{OTHER}.end.1",
    f"session.{MINE}.in.x",
    f"session.{MINE}.control",
    f"$KV.leases.{OTHER}",
    f"$KV.turns.{OTHER}",
    f"files.{OTHER}.f1.0",
    f"live.{OTHER}",
    "work.default",
    "dead.worker.work.default",
    "audit.T1.deleted",
    "scheduler.enter.w-2",
    f"scheduler.admit.{OTHER}",
    "archiver.delete",
    "$JS.API.STREAM.DELETE.SESSIONS",
    "$JS.ACK.SESSIONS.scheduler.1.1.1.1.1",
)

NEVER = (
    *TARGETS,
    f"session.{MINE}.control",
    f"session.{MINE}.in.x",
    f"files.{OTHER}.f1.0",
    f"archiver.read.{OTHER}",
    "archiver.list",
    f"scheduler.renew.{OTHER}.{WORKER}",
    f"scheduler.renew.{MINE}.w-2",
    f"scheduler.reader.{OTHER}.{WORKER}",
    f"scheduler.reader.{MINE}.w-2",
    "session.T1.C1.*.out",
    "session.T1.C1.>",
    "_INBOX_w-2.x",
    "_INBOX_scheduler.x",
    "_INBOX.x",
    f"$JS.API.DIRECT.GET.SESSIONS.session.{OTHER}.out",
    "$JS.API.DIRECT.GET.SESSIONS.session.>",
    "$JS.API.DIRECT.GET.SESSIONS",
    f"$JS.API.DIRECT.GET.KV_leases.$KV.leases.{OTHER}",
    f"$JS.API.DIRECT.GET.KV_turns.$KV.turns.{MINE}",
    f"$JS.API.DIRECT.GET.FILES.files.{OTHER}.f1.0",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.SESSIONS",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.MSG.GET.SESSIONS",
    "$JS.API.STREAM.PURGE.SESSIONS",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.CONSUMER.NAMES.SESSIONS",
    "$JS.API.CONSUMER.LIST.SESSIONS",
    "$JS.API.CONSUMER.INFO.SESSIONS.scheduler",
    f"$JS.API.CONSUMER.CREATE.SESSIONS.{WORKER}-log",
    f"$JS.API.CONSUMER.CREATE.SESSIONS.{WORKER}-log.session.{MINE}.out",
    "$JS.API.CONSUMER.CREATE.SESSIONS",
    "$JS.API.CONSUMER.DURABLE.CREATE.SESSIONS.mine",
    f"$JS.API.CONSUMER.DELETE.SESSIONS.{WORKER}-log",
    f"{NEXT}.SESSIONS.scheduler",
    f"{NEXT}.SESSIONS.archiver",
    f"{NEXT}.SESSIONS.w-2-log",
    f"{NEXT}.WORK.pool-default",
    "$JS.ACK.WORK.pool-default.1.1.1.1.0",
    "$JS.ACK.WORK.pool-default.1.2.2.1.0",
    "$SYS.REQ.USER.INFO.x",
)  # fmt: skip
UNHEARD = (
    ">", "*", "session.>", f"session.{OTHER}.control", f"session.{OTHER}.>", f"session.{MINE}.>", "live.>",
    "_INBOX.>", "_INBOX_w-2.>", "_INBOX_scheduler.>", "scheduler.>", f"scheduler.admit.{MINE}", "$JS.>", "$KV.>",
    "$SYS.>", "work.*", "dead.>", "audit.>", "files.>",
)  # fmt: skip


@pytest.fixture
async def hostile(guarded: Guarded) -> AsyncIterator[Client]:
    """A worker with a real session's credential, and two sessions that have a log."""
    async with guarded.client("operator") as client:
        for key in (MINE, OTHER):
            await client.request(f"session.{key}.in.1", b"{}")
            await client.request(f"session.{key}.out", b'{"kind":"stop","user":{"id":"U1"}}')
    guarded.hire(session_rights(MINE, WORKER))
    async with guarded.client(WORKER) as client:
        yield client


async def made_reader(guarded: Guarded, reading: str) -> None:
    async with guarded.client("scheduler") as client:
        subjects = filters(MINE, reading)
        await OwnReaders(Bus(client)).make_named(reader(WORKER, reading), "SESSIONS", subjects, "all", 0)


async def test_it_is_refused_all_that_is_not_its_own(guarded: Guarded, hostile: Client) -> None:
    before = await state(guarded, *STREAMS)
    refusals = Refusals(hostile)
    taken = [subject for subject in NEVER if not await refusals.publish(subject)]
    heard = [subject for subject in UNHEARD if not await refusals.subscribe(subject)]
    assert (taken, heard) == ([], [])
    assert await state(guarded, *STREAMS) == before


async def test_it_does_its_own_work(guarded: Guarded, hostile: Client) -> None:
    for subject in (
        f"session.{MINE}.out",
        f"session.{MINE}.end.1",
        f"session.{MINE}.state",
        f"$KV.leases.{MINE}",
    ):
        answer = await hostile.request(subject, b"{}", timeout=PATIENCE)
        assert b'"seq"' in answer.data
    last = await hostile.request(f"$JS.API.DIRECT.GET.SESSIONS.session.{MINE}.out", b"", timeout=PATIENCE)
    assert last.data == b"{}"
    await made_reader(guarded, "out")
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subject = hostile.new_inbox()
    await hostile.subscribe(subject, cb=arrived.put)
    await hostile.publish(f"{NEXT}.SESSIONS.{reader(WORKER, 'out')}", b'{"batch":2}', reply=subject)
    async with asyncio.timeout(PATIENCE):
        assert [(await arrived.get()).subject for _ in range(2)] == [f"session.{MINE}.out"] * 2


async def test_no_answer_that_it_asks_for_comes_where_it_would_be_stored(
    guarded: Guarded, hostile: Client
) -> None:
    await made_reader(guarded, "out")
    refusals = Refusals(hostile)
    before = await state(guarded, *STREAMS)
    for target in TARGETS:
        assert not await refusals.publish(
            f"$JS.API.DIRECT.GET.SESSIONS.session.{MINE}.out", b"", reply=target
        )
        assert not await refusals.publish(
            f"{NEXT}.SESSIONS.{reader(WORKER, 'out')}", b'{"batch":1,"no_wait":true}', reply=target
        )
        assert not await refusals.publish(f"$KV.leases.{MINE}", b"{}", reply=target)
    after = await state(guarded, *STREAMS)
    # Its own lease is all that moved, by what it wrote itself.
    first = before.pop("KV_leases")
    assert first < after.pop("KV_leases") <= first + len(TARGETS)
    assert after == before


@pytest.mark.parametrize("only", ["true", "false"])
async def test_no_trace_that_it_asks_the_broker_for_comes_where_it_would_be_stored(
    guarded: Guarded, hostile: Client, only: str
) -> None:
    refusals = Refusals(hostile)
    before = await state(guarded, *STREAMS)
    for target in TARGETS:
        headers = {"Nats-Trace-Dest": target, "Nats-Trace-Only": only}
        await hostile.publish(f"live.{MINE}", b"{}", headers=headers)
    assert await refusals.publish("nobody.x")
    # What traces there are come by the broker's own queue, a moment later.
    await asyncio.sleep(0.3)
    assert await state(guarded, *STREAMS) == before


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"[" * 100_000, b"x" * (4 * 2**20)])
async def test_what_it_writes_of_its_own_is_its_own_alone(
    guarded: Guarded, hostile: Client, payload: bytes
) -> None:
    before = await state(guarded, *STREAMS)
    await hostile.publish(f"session.{MINE}.out", payload)
    await hostile.flush()
    after = await state(guarded, *STREAMS)
    assert {name for name in STREAMS if before[name] != after[name]} <= {"SESSIONS"}


async def test_a_lease_that_cannot_be_read_harms_its_own_session_alone(
    guarded: Guarded, hostile: Client
) -> None:
    await hostile.request(f"$KV.leases.{MINE}", b"\xff{", timeout=PATIENCE)
    async with guarded.client("scheduler") as client:
        leases = Bucket(Bus(client), "leases", Lease)
        await leases.create(str(OTHER), Lease(holder="w-2"))
        assert (await leases.get(str(MINE))).value is None
        seen = {}
        async with contextlib.aclosing(leases.watch()) as entries:
            async for entry in entries:
                if entry is None:
                    break
                seen[entry.key] = entry.value and entry.value.holder
        assert seen == {str(MINE): None, str(OTHER): "w-2"}


async def test_a_rollup_of_its_lease_deletes_nobody_elses(guarded: Guarded, hostile: Client) -> None:
    async with guarded.client("scheduler") as client:
        leases = Bucket(Bus(client), "leases", Lease)
        lease = Lease(holder="w-2")
        await leases.create(str(OTHER), lease)
        for kind in ("all", "sub"):
            headers = {"Nats-Rollup": kind}
            answer = await hostile.request(f"$KV.leases.{MINE}", b"{}", headers=headers, timeout=PATIENCE)
            assert b"rollup not permitted" in answer.data
        assert (await leases.get(str(OTHER))).value == lease


@pytest.mark.parametrize("place", [b"\xff\xfe", b"a\x0b1", b"a\x0c1", b"x" * 32_700])
async def test_a_subject_that_is_no_word_becomes_a_letter_and_deafens_nobody(
    guarded: Guarded, hostile: Client, place: bytes
) -> None:
    heard = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        try:
            decode(delivery.subject, delivery.data)
        except MalformedMessage as e:
            raise Reject(str(e)) from e
        heard.set()

    await publish_raw(hostile, f"session.{MINE}.end.".encode() + place)
    async with guarded.client("scheduler") as client, guarded.client("operator") as operator:
        consume = Consume(Bus(client), SCHEDULER, "scheduler", handle, lambda each: each.subject)
        consuming = asyncio.create_task(consume.run())
        await operator.request(f"session.{OTHER}.control", Stop(user=Person(id="U1")).encode())
        letters = Follow(Bus(operator), "DEADLETTER", [f"dead.scheduler.session.{MINE}.end.>"]).deliveries()
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(letters):
            await heard.wait()
            while await anext(letters) is None:
                pass
        await cancel(consuming)


@pytest.mark.parametrize(
    "head", [b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"NATS/1.0 100 \xff\r\n\r\n", b"NATS/1.0"]
)
async def test_headers_that_are_no_text_deafen_nobody(guarded: Guarded, hostile: Client, head: bytes) -> None:
    guarded.hire(session_rights(OTHER, "w-2"))
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    async with guarded.client("ingress") as ingress, guarded.client("w-2") as honest:
        await ingress.subscribe("live.>", cb=heard.put)
        # For a moment after its answer to a flush the broker may pass nothing on from another account.
        for client, key in ((hostile, MINE), (honest, OTHER)):
            while heard.empty() or (await heard.get()).subject != f"live.{key}":
                await client.publish(f"live.{key}", b"first")
                await asyncio.sleep(0.01)
        await publish_raw(hostile, f"live.{MINE}".encode(), head)
        await honest.publish(f"live.{OTHER}", b"last")
        missing = {f"live.{MINE}", f"live.{OTHER}"}
        async with asyncio.timeout(PATIENCE):
            while missing:
                message = await heard.get()
                missing -= {message.subject} if message.data != b"first" else set()


async def test_batches_that_it_never_ends_keep_nobodys_from_being_stored(
    guarded: Guarded, hostile: Client
) -> None:
    for number in range(60):
        headers = {BATCH_ID: str(number), BATCH_SEQUENCE: "1"}
        await hostile.publish(f"session.{MINE}.out", b"{}", headers=headers)
    await hostile.flush()
    guarded.hire(session_rights(OTHER, "w-2"))
    notice = Notice(text="hello")
    drafts = [Draft(subject=notice.subject(OTHER), message=notice)] * 2
    async with guarded.client("w-2") as client:
        # The server's own patience with such a batch is twice that.
        assert await Bus(client, direct=True).publish_batch(drafts, deadline=5)


async def test_it_subscribes_a_hundred_times_and_no_more(hostile: Client) -> None:
    for number in range(100):
        await hostile.subscribe(f"{inbox(WORKER)}.{number}")
    await hostile.flush()
    await hostile.subscribe(f"{inbox(WORKER)}.more")
    async with asyncio.timeout(PATIENCE):
        while not hostile.is_closed:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert "maximum subscriptions exceeded" in str(hostile.last_error)


async def test_a_worker_in_the_pool_can_take_work_and_ask_for_its_session_alone(guarded: Guarded) -> None:
    guarded.hire(pool_rights("default", WORKER))
    before = await state(guarded, *STREAMS)
    own = {"dead.worker.work.default"}
    allowed = {
        f"{NEXT}.WORK.pool-default",
        "$JS.ACK.WORK.pool-default.1.1.1.1.0",
        "$JS.ACK.WORK.pool-default.1.2.2.1.0",
        *own,
    }
    async with guarded.client(WORKER) as client:
        refusals = Refusals(client)
        forbidden = [each for each in NEVER if each not in allowed] + [
            f"session.{MINE}.out", f"session.{MINE}.state", f"live.{MINE}", f"$KV.leases.{MINE}",
            f"scheduler.admit.{MINE}", f"archiver.read.{MINE}", "scheduler.enter.w-2",
        ]  # fmt: skip
        taken = [subject for subject in forbidden if not await refusals.publish(subject)]
        heard = [
            subject
            for subject in (*UNHEARD, f"session.{MINE}.control")
            if not await refusals.subscribe(subject)
        ]
        for target in TARGETS:
            assert not await refusals.publish(f"{NEXT}.WORK.pool-default", b'{"no_wait":true}', reply=target)
    assert (taken, heard) == ([], [])
    assert await state(guarded, *STREAMS) == before


async def test_a_credential_that_has_expired_is_none(guarded: Guarded) -> None:
    guarded.hire(session_rights(MINE, WORKER), seconds=-1)
    settings = BusSettings(url=guarded.broker.url, creds=guarded.keys.of(WORKER))
    with pytest.raises(SettingsError):
        await open_connection(settings, WORKER, lambda: None, inbox=inbox(WORKER))


async def test_a_jwt_without_its_key_is_none(guarded: Guarded) -> None:
    guarded.hire(session_rights(MINE, WORKER))
    guarded.hire(session_rights(OTHER, "w-2"))
    stolen = guarded.keys.of(WORKER).read_text().partition("-----BEGIN USER NKEY SEED-----")[0]
    own = guarded.keys.of("w-2").read_text().partition("-----BEGIN USER NKEY SEED-----")
    guarded.keys.of("w-3").write_text(stolen + own[1] + own[2])
    settings = BusSettings(url=guarded.broker.url, creds=guarded.keys.of("w-3"))
    with pytest.raises(SettingsError, match="refuses who we say we are"):
        await open_connection(settings, "w-3", lambda: None)


def test_a_reading_is_known_by_its_subjects() -> None:
    assert len({filters(MINE, reading) for reading in READINGS}) == len(READINGS)
