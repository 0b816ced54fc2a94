"""A session's repository: it is on its way while the session is still being claimed, and in vain leaves nothing."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from services.worker.lease import LeaseLost
from services.worker.session_log import SessionLog
from services.worker.workspace.checkout import CLONE
from services.worker.workspace.git import Git
from tests.worker.conftest import Thread

claim, connect = SessionLog.claim, Git.connect


@pytest.fixture(autouse=True)
def short_lived(thread: Thread) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, agent="recorded", idle_seconds=0.1)


def workspace_of(thread: Thread) -> Path:
    return thread.settings.data / "workspaces" / str(thread.key)


async def until_cloned(thread: Thread) -> None:
    while not (workspace_of(thread) / ".git").exists():  # noqa: ASYNC110 (git tells nobody)
        await asyncio.sleep(0.01)


async def test_it_comes_while_the_session_is_being_claimed(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(self: SessionLog, *arguments) -> int:
        await until_cloned(thread)
        return await claim(self, *arguments)

    monkeypatch.setattr(SessionLog, "claim", late)
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn)
    assert (await thread.end_of(turn)).outcome == "completed"


@pytest.mark.parametrize("far", ["begun", "there"])
async def test_one_that_came_for_nothing_leaves_nothing_unfinished(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, far: str
) -> None:
    """And nothing beside the workspace, as after every test here."""
    begun = asyncio.Event()

    async def slow(self: Git, *arguments, **more):
        begun.set()
        if far == "begun":
            await asyncio.Event().wait()
        return await connect(self, *arguments, **more)

    async def lost(self: SessionLog, *arguments) -> int:
        await (begun.wait() if far == "begun" else until_cloned(thread))
        raise LeaseLost(str(self.key))

    monkeypatch.setattr(Git, "connect", slow)
    monkeypatch.setattr(SessionLog, "claim", lost)
    thread.start_worker()
    await thread.assign(await thread.say("hello"))
    worker, thread.worker = thread.worker, None
    assert worker
    with pytest.raises(LeaseLost):
        await worker
    assert not (workspace_of(thread) / CLONE).exists()
