"""A worker that no launcher could give a credential: it shows the cluster's word for who it is, and is let into its pool."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas.base import MalformedMessage
from schemas.credentials import CREDENTIALS, Credential, Knock, Secrets
from schemas.keys import SessionKey
from schemas.rights import inbox
from schemas.work import Assignment
from schemas.worker_rights import DOOR, KNOCK_BYTES, pool_rights, session_rights
from services.local.broker import running_broker
from services.local.keys import made
from services.runtime import seldom
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.issuer import Issuer
from services.runtime.nkey import NKey
from services.runtime.proof import Proof
from services.runtime.tasks import cancel
from services.scheduler.credentials import Credentials
from services.scheduler.grants import Grants
from services.worker.assignment import take
from services.worker.considering import Spent
from services.worker.entering import Entrance, Pool, SessionBus
from services.worker.knocking import let_in
from services.worker.settings import WorkerSettings
from tests.rights.conftest import PATIENCE, Guarded, Refusals, state
from tests.rights.entering import nothing
from tests.rights.test_entering import MINE, assign, took
from tests.rights.test_hostile_worker import STREAMS, TARGETS

SECRETS = Secrets(
    environ={"ANTHROPIC_API_KEY": "sk-ant-of-the-team"}, git_user="bot", git_password="of-the-host"
)


class Cluster:
    """Knows one worker; `away` as an API server that does not answer."""

    def __init__(self) -> None:
        self.away = False
        self.asked = asyncio.Event()

    async def refusal(self, pool: str, worker: str, shown: str) -> str:
        self.asked.set()
        if self.away:
            raise Unavailable("the API server does not answer")
        return (
            ""
            if (pool, worker, shown) == ("default", "w-1", "token-of-w-1")
            else "The token is that of another worker."
        )


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def scheduler(guarded: Guarded, cluster: Cluster) -> AsyncIterator[Bus]:
    async with guarded.client("scheduler") as client:
        bus = Bus(client)
        issuer, grants = Issuer.read(guarded.keys.workers), Grants(bus, required=True)
        answering = Credentials(bus, issuer, grants, cluster, lambda: SECRETS)
        tasks = [asyncio.create_task(each.run()) for each in answering.requests()]
        await asyncio.sleep(0)
        await client.flush()
        yield bus
        await cancel(*tasks)


def settings_of(guarded: Guarded, worker: str = "w-1", pool: str = "default") -> WorkerSettings:
    bus = BusSettings(url=guarded.broker.url)
    return WorkerSettings(worker=worker, pool=pool, data=Path("/nowhere"), nats=bus)


def token_in(folder: Path, word: str) -> Path:
    (folder / "token").write_text(f"{word}\n")
    return folder / "token"


def door_of(guarded: Guarded) -> Proof:
    return Proof.read(guarded.keys.of(DOOR.name))


@contextlib.asynccontextmanager
async def knocked(guarded: Guarded, tmp_path: Path) -> AsyncIterator[Pool]:
    settings = settings_of(guarded)
    proof = await let_in(settings, door_of(guarded), token_in(tmp_path, "token-of-w-1"))
    pool = await Pool.guarded(settings, proof, lambda: None)
    try:
        yield pool
    finally:
        await pool.leave()


async def test_who_shows_its_own_token_works_with_what_its_session_needs(
    guarded, scheduler, tmp_path
) -> None:
    await assign(scheduler, MINE)
    async with knocked(guarded, tmp_path) as pool, asyncio.timeout(PATIENCE):
        told: list[tuple[SessionKey, Secrets]] = []

        def ahead(assignment: Assignment, secrets: Secrets) -> None:
            told.append((assignment.key, secrets))

        taken = await take(pool.bus, "default", "w-1", pool.enter, ahead=ahead)
        assert isinstance(taken.bus, SessionBus)
        assert taken.bus.secrets == SECRETS
        assert told == [(MINE, SECRETS)]
        assert "sk-ant" not in repr(taken.bus.secrets)
        await taken.bus.client.close()


@pytest.mark.parametrize(
    ("worker", "pool", "word"),
    [("w-2", "default", "token-of-w-1"), ("w-1", "other", "token-of-w-1"), ("w-1", "default", "forged")],
)
async def test_who_shows_no_token_of_its_own_is_refused_in_one_sentence(
    guarded, scheduler, tmp_path, worker: str, pool: str, word: str
) -> None:
    with pytest.raises(SettingsError, match="lets this worker not in: The token is that of another worker"):
        await let_in(settings_of(guarded, worker, pool), door_of(guarded), token_in(tmp_path, word))


async def test_an_agent_that_finds_the_token_gets_nothing_for_it(guarded, scheduler, tmp_path) -> None:
    await assign(scheduler, MINE)
    await assign(scheduler, SessionKey("T1", "C1", "3-3"))
    async with knocked(guarded, tmp_path) as pool, asyncio.timeout(PATIENCE):
        taken = await take(pool.bus, "default", "w-1", pool.enter, ahead=nothing)
        with pytest.raises(SettingsError, match="has its session already"):
            await let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
        await taken.bus.client.close()


async def test_a_worker_whose_session_is_over_is_let_in_no_more_and_renewed_no_more(
    guarded, scheduler, tmp_path
) -> None:
    await assign(scheduler, MINE)
    grants = Grants(scheduler, required=True)
    async with knocked(guarded, tmp_path) as pool, asyncio.timeout(PATIENCE):
        taken = await take(pool.bus, "default", "w-1", pool.enter, ahead=nothing)
        await grants.end("w-1")
        with pytest.raises(SettingsError, match="has its session already"):
            await let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
        assert pool.renewal
        with pytest.raises(Unavailable, match="has its session already"):
            await pool.renewal.renew()
        # Nor by a second assignment, nor by its own again.
        await assign(scheduler, SessionKey("T1", "C1", "3-3"))
        again = Entrance(pool.bus, settings_of(guarded), lambda: None)
        with pytest.raises(Spent):
            await again.enter(taken.assignment, await took(pool.bus.client), lambda _: None)
        await taken.bus.client.close()


async def test_whoever_stands_at_the_door_may_knock_and_nothing_else(guarded, scheduler) -> None:
    settings = BusSettings(url=guarded.broker.url)
    client = await open_connection(
        settings, "w-1", lambda: None, inbox=inbox(DOOR.name), proof=door_of(guarded)
    )
    refusals = Refusals(client)
    for subject in (
        "scheduler.enter.w-1",
        "scheduler.stay.default.w-1",
        "work.default",
        f"session.{MINE}.out",
        "$JS.API.INFO",
    ):
        assert await refusals.publish(subject), subject
    for subject in ("scheduler.knock.>", "work.>", "_INBOX_w-1.>", ">"):
        assert await refusals.subscribe(subject), subject
    assert not await refusals.publish("scheduler.knock.default.w-1", b"{}", "_INBOX_door.x")
    await client.close()


async def test_a_worker_waits_for_an_api_server_that_is_away(guarded, scheduler, cluster, tmp_path) -> None:
    cluster.away = True
    waiting = asyncio.create_task(
        let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
    )
    async with asyncio.timeout(PATIENCE):
        await cluster.asked.wait()
        cluster.away = False
        await waiting


async def test_a_token_that_is_not_there_is_told(guarded, tmp_path) -> None:
    with pytest.raises(SettingsError, match="THREADMILL_TOKEN"):
        await let_in(settings_of(guarded), door_of(guarded), tmp_path / "token")


@contextlib.asynccontextmanager
async def at_the_door(guarded: Guarded) -> AsyncIterator[Client]:
    """Whoever found `door.creds`."""
    settings = BusSettings(url=guarded.broker.url)
    client = await open_connection(
        settings, "x", lambda: None, inbox=inbox(DOOR.name), proof=door_of(guarded)
    )
    try:
        yield client
    finally:
        await close_connection(client)


async def test_what_others_are_answered_at_the_door_is_worth_nothing(guarded, scheduler, tmp_path) -> None:
    async with at_the_door(guarded) as spy:
        heard: asyncio.Queue[Msg] = asyncio.Queue()
        await spy.subscribe(f"{inbox(DOOR.name)}.>", cb=heard.put)
        await spy.flush()
        await let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
        async with asyncio.timeout(PATIENCE):
            told = Credential.decode((await heard.get()).data)
    assert told.secrets == Secrets()
    stolen = Proof(NKey.generate("user"), told.jwt)
    settings = BusSettings(url=guarded.broker.url)
    with pytest.raises(SettingsError, match="refuses who we say we are"):
        await open_connection(settings, "w-1", lambda: None, inbox=inbox("w-1"), proof=stolen)


async def test_no_answer_at_the_door_comes_where_it_would_be_stored_or_heard(guarded, scheduler) -> None:
    before = await state(guarded, *STREAMS)
    async with guarded.client("scheduler") as listening, at_the_door(guarded) as client:
        heard: list[str] = []

        async def hear(message: Msg) -> None:
            heard.append(message.subject)

        for subject in ("scheduler.enter.*", "scheduler.stay.*.*", "scheduler.admit.*.*.*"):
            await listening.subscribe(subject, cb=hear)
        await listening.flush()
        refusals = Refusals(client)
        # A refusal, and what a worker's own answer is.
        for target in (*TARGETS, "scheduler.stay.default.w-2"):
            for token in ("forged", "token-of-w-1"):
                knock = Knock(user=NKey.generate("user").public, token=token).encode()
                assert not await refusals.publish("scheduler.knock.default.w-1", knock, target)
        await client.request("scheduler.knock.default.w-1", b"{}", timeout=PATIENCE)
        await listening.flush()
    assert heard == []
    assert await state(guarded, *STREAMS) == before


async def test_nobody_at_the_door_speaks_to_whom_waits_there(guarded, scheduler) -> None:
    async with at_the_door(guarded) as client:
        refusals = Refusals(client)
        for subject in (
            "_INBOX_door.x",
            "_INBOX_w-1.x",
            "_R_.x",
            "scheduler.knock.default",
            "$SYS.REQ.USER.INFO",
        ):
            assert await refusals.publish(subject), subject
        for subject in ("_R_.>", "_INBOX_scheduler.>", "$SYS.>", "scheduler.*.*.*"):
            assert await refusals.subscribe(subject), subject


async def test_a_knock_that_is_too_long_ends_its_connection(guarded, scheduler) -> None:
    lost = asyncio.Event()
    settings = BusSettings(url=guarded.broker.url)
    client = await open_connection(
        settings, "x", lambda: None, inbox=inbox(DOOR.name), proof=door_of(guarded)
    )

    async def gone() -> None:
        lost.set()

    client._disconnected_cb = gone  # type: ignore[assignment] (who connected has given another)
    client._max_payload = 2**20  # what it would not send by itself
    await client.publish("scheduler.knock.default.w-1", b"x" * (KNOCK_BYTES + 1))
    async with asyncio.timeout(PATIENCE):
        await lost.wait()
    await client.close()


async def test_ten_thousand_knocks_of_nobody_keep_no_worker_out_for_long_and_do_not_fill_the_log(
    guarded, scheduler, tmp_path
) -> None:
    knock = Knock(user=NKey.generate("user").public, token="forged").encode()
    began = time.monotonic()
    with structlog.testing.capture_logs() as logged:
        async with at_the_door(guarded) as client, asyncio.timeout(3 * PATIENCE):
            for number in range(10_000):
                await client.publish(f"scheduler.knock.default.x-{number}", knock, reply="_INBOX_door.flood")
            await let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
    took = time.monotonic() - began
    refused = [each for each in logged if each["event"] == "a knock is refused"]
    assert 0 < len(refused) <= 1 + took / seldom.SECONDS
    assert all(each["others"] < 10_000 for each in refused)


async def test_what_a_session_needs_is_nowhere_on_the_bus_but_in_the_answer(
    guarded, scheduler, tmp_path
) -> None:
    names = ("operator", "admin", "ingress", "archiver")
    await assign(scheduler, MINE)
    guarded.hire(pool_rights("default", "w-2"))
    guarded.hire(session_rights(SessionKey("T1", "C1", "2-2"), "w-3"))
    async with contextlib.AsyncExitStack() as stack:
        for name in (*names, "w-2", "w-3"):
            refusals = Refusals(await stack.enter_async_context(guarded.client(name)))
            for subject in ("_INBOX_w-1.>", "_R_.>", "_INBOX_scheduler.>", "scheduler.enter.*", ">"):
                assert await refusals.subscribe(subject), (name, subject)
        operator = await stack.enter_async_context(guarded.client("operator"))
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        for subject in ("_INBOX.>", "session.>", "live.>", "work.*", "dead.>", "audit.>"):
            await operator.subscribe(subject, cb=hear)
        await operator.flush()
        with structlog.testing.capture_logs() as logged:
            async with knocked(guarded, tmp_path) as pool, asyncio.timeout(PATIENCE):
                taken = await take(pool.bus, "default", "w-1", pool.enter, ahead=nothing)
                assert isinstance(taken.bus, SessionBus)
                assert taken.bus.secrets == SECRETS
                await taken.bus.client.close()
        await operator.flush()
    broker = (file.read_bytes() for file in (tmp_path / "broker").rglob("*") if file.is_file())
    everything = b"\n".join([*broker, *heard, repr(logged).encode()])
    assert str(MINE).encode() in everything
    assert not [
        each for each in (*SECRETS.environ.values(), SECRETS.git_password) if each.encode() in everything
    ]


async def test_a_secret_in_an_answer_that_cannot_be_read_is_not_told(guarded, scheduler) -> None:
    strange = (
        b'{"kind":"credential","jwt":1,"secrets":{"environ":{"ANTHROPIC_API_KEY":"sk-ant-of-the-team"}}}'
    )
    for payload in (strange, strange.replace(b'"jwt":1', b'"jwt":"j"').replace(b"}}}", b"},}}")):
        with pytest.raises(MalformedMessage) as told:
            CREDENTIALS.decode(payload)
        assert "sk-ant" not in str(told.value)


async def test_whoever_stands_at_the_door_a_thousand_times_keeps_no_worker_from_its_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.local.keys.KNOCKING", 3)
    keys = made(tmp_path / "keys")
    async with (
        running_broker(tmp_path / "broker", keys.broker.read_text()) as broker,
        contextlib.AsyncExitStack() as stack,
    ):
        guarded = Guarded(broker, keys)
        for _ in range(3):
            await stack.enter_async_context(at_the_door(guarded))
        settings, mine = BusSettings(url=broker.url), door_of(guarded)
        # Where the broker hangs up before its word is read, the last try fails by another one.
        with pytest.raises(Unavailable), structlog.testing.capture_logs() as logged:
            await open_connection(
                settings, "x", lambda: None, inbox=inbox(DOOR.name), proof=mine, patience=3.0
            )
        assert "maximum account active connections" in str(logged)
        guarded.hire(session_rights(MINE, "w-1"))
        async with guarded.client("w-1"):
            pass


async def test_a_credential_of_the_door_is_none_of_the_workers_account(guarded, scheduler) -> None:
    """Nobody there could be heard by a worker, or hear one, whatever rights somebody gave by mistake."""
    guarded.hire(pool_rights("default", "w-1"))
    async with at_the_door(guarded) as client, guarded.client("w-1") as worker:
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        await worker.subscribe("_INBOX_w-1.x", cb=hear)
        await worker.flush()
        await client.publish("scheduler.knock.default.w-1", b"{}", reply="_INBOX_w-1.x")
        await client.request("scheduler.knock.default.w-1", b"{}", timeout=PATIENCE)
        await worker.flush()
    assert heard == []
