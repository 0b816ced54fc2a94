"""A worker whose connection the broker closes for good, as when its credential has expired."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator

import psutil
import pytest
import structlog
from nats.aio.client import Client

from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.events import Notice, ToolStarted
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.connection import open_connection
from services.runtime.errors import Unavailable
from services.worker import app
from services.worker.lease import RENEW_SECONDS, HeldLease, LeaseLost, acquire
from services.worker.session_log import SessionLog
from tests.messages_api import Call, MessagesApi
from tests.worker.conftest import Held, Thread

KEY = SessionKey("T1", "C1", "1-1")


async def close_for_good(client: Client) -> None:
    """Say what a broker says to whom it knows no longer."""
    await client._process_err("'user authentication expired'")
    async with asyncio.timeout(5):
        while not client.is_closed:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)


@pytest.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Client]]:
    """What a worker connects by; its log is as before at the end."""
    opened: list[Client] = []

    async def noted(*given) -> Client:
        opened.append(await open_connection(*given))
        return opened[-1]

    monkeypatch.setattr(app, "open_connection", noted)
    yield opened
    structlog.reset_defaults()


async def test_in_the_middle_of_a_turn_it_leaves_with_its_work_kept_and_nothing_running(
    thread: Thread, model: MessagesApi, connections: list[Client]
) -> None:
    path = f"{thread.settings.data}/workspaces/{thread.key}/work.txt"
    model.reply_to(
        "begin",
        Call("Write", {"file_path": path, "content": "mine"}),
        Call("Bash", {"command": "sleep 297"}),
    )
    working = asyncio.create_task(app.run(thread.settings))
    await thread.assign(await thread.say("begin"))
    await thread.until(lambda event: isinstance(event, ToolStarted) and event.name == "Bash")
    await close_for_good(connections[0])
    with pytest.raises(Unavailable, match="closed the connection for good"):
        await asyncio.wait_for(working, 20)
    left = {each.name() for each in psutil.Process().children(recursive=True)}
    assert not left & {"claude", "sleep"}
    repository = thread.settings.data / "repos" / "T1-U1.git"
    kept = ["git", "-C", repository, "log", "--all", "--format=", "--name-only"]
    assert "work.txt" in (await asyncio.to_thread(subprocess.check_output, kept, text=True)).split()


async def test_what_cannot_be_written_any_more_is_no_longer_tried(bus: Bus) -> None:
    log = SessionLog(bus, KEY)
    await log.claim(Held("w-1", 1), 1)
    await close_for_good(bus.client)
    async with asyncio.timeout(5):
        with pytest.raises(LeaseLost):
            await log.event(Notice(text="to nobody"))
    assert log.lost.is_set()


async def test_a_lease_that_cannot_be_renewed_any_more_is_lost(bus: Bus) -> None:
    async def unmoved() -> bool:
        return True

    held = await acquire(bus, KEY, "w-1")
    assert held
    old = HeldLease(
        Bucket(bus, LEASES.name, Lease), KEY, "w-1", held.token, time.monotonic() - RENEW_SECONDS, follows=0
    )
    await close_for_good(bus.client)
    async with asyncio.timeout(5):
        with pytest.raises(LeaseLost):
            await old.renew_for_ever(unmoved)
        await old.release()
