"""A worker that no launcher could give a credential: it shows the cluster's word for who it is, and is let into its pool."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.credentials import Secrets
from schemas.keys import SessionKey
from schemas.rights import inbox
from schemas.worker_rights import DOOR
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, open_connection
from services.runtime.errors import SettingsError, Unavailable
from services.runtime.issuer import Issuer
from services.runtime.lifecycle import cancel
from services.runtime.proof import Proof
from services.scheduler.credentials import Credentials
from services.scheduler.grants import Grants
from services.worker.assignment import take
from services.worker.entering import Pool, SessionBus
from services.worker.knocking import let_in
from services.worker.settings import WorkerSettings
from tests.rights.conftest import PATIENCE, Guarded, Refusals
from tests.rights.test_entering import MINE, assign

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
        taken = await take(pool.bus, "default", "w-1", pool.enter)
        assert isinstance(taken.bus, SessionBus)
        assert taken.bus.secrets == SECRETS
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
        taken = await take(pool.bus, "default", "w-1", pool.enter)
        with pytest.raises(SettingsError, match="has its session already"):
            await let_in(settings_of(guarded), door_of(guarded), token_in(tmp_path, "token-of-w-1"))
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
