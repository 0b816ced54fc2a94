"""A session's repository: it comes ahead of all that is read, and where nobody had it ahead of the claim; in vain it leaves nothing."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from schemas.base import now
from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.credentials import Secrets
from schemas.ends import TurnEnd
from schemas.events import Claimed
from schemas.work import Assignment
from services.runtime.bucket import Bucket
from services.runtime.bus import Draft, Fence
from services.worker.access import Access
from services.worker.hearing import Hearing
from services.worker.lease import HeldLease, LeaseLost, acquire
from services.worker.opening import Opening
from services.worker.session_log import SessionLog
from services.worker.settings import WorkerSettings
from services.worker.workspace.checkout import CLONE
from services.worker.workspace.git import Git
from services.worker.workspace.naming import branch_prefix
from tests.worker.conftest import ADA, Thread

claim, connect, hear = SessionLog.claim, Git.connect, Hearing.run


@pytest.fixture(autouse=True)
def short_lived(thread: Thread) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, agent="recorded", idle_seconds=0.1)


@pytest.fixture
def connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What git was run for that talks to the remote."""
    seen: list[str] = []

    async def noted(self: Git, *arguments: str, **more):
        seen.append(arguments[0])
        return await connect(self, *arguments, **more)

    monkeypatch.setattr(Git, "connect", noted)
    return seen


def workspace_of(thread: Thread) -> Path:
    return thread.settings.data / "workspaces" / str(thread.key)


async def one_turn(thread: Thread, attempt: int = 1) -> TurnEnd:
    """Return how the turn ends that a worker is given."""
    thread.start_worker()
    turn = await thread.say("hello")
    await thread.assign(turn, attempt=attempt)
    return await thread.end_of(turn)


async def until_cloned(thread: Thread) -> None:
    workspace = workspace_of(thread)
    while not (workspace / ".git").exists() or list(workspace.glob(f"{CLONE}*")):  # noqa: ASYNC110 (git tells nobody)
        await asyncio.sleep(0.01)


async def test_it_comes_while_the_log_is_being_read(thread: Thread, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does the agent's conversation."""
    asked = asyncio.Event()

    async def archive_asked(_: Msg) -> None:
        asked.set()

    async def late(self: Hearing) -> None:
        await until_cloned(thread)
        await asked.wait()
        await hear(self)

    await thread.bus.client.subscribe("archiver.read.>", cb=archive_asked)
    monkeypatch.setattr(Hearing, "run", late)
    assert (await one_turn(thread)).outcome == "completed"


async def test_one_that_somebody_may_have_is_not_touched_before_the_session_is_claimed(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []

    async def noted(self: SessionLog, *arguments, **more) -> None:
        await claim(self, *arguments, **more)
        names = [task.get_name() for task in asyncio.all_tasks()]
        begun.append(any(name.startswith(("repository", "conversation")) for name in names))

    monkeypatch.setattr(SessionLog, "claim", noted)
    assert (await one_turn(thread, attempt=2)).outcome == "completed"
    assert begun == [False]


async def until_cloned_beside(thread: Thread) -> None:
    while not list(workspace_of(thread).glob(f"{CLONE}-*/.git/HEAD")):  # noqa: ASYNC110 (git tells nobody)
        await asyncio.sleep(0.01)


async def test_one_that_nobody_had_comes_ahead_of_the_claim_and_is_in_its_place_after_it(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    in_place: list[bool] = []

    async def late(self: SessionLog, *arguments, **more) -> None:
        await until_cloned_beside(thread)
        in_place.append((workspace_of(thread) / ".git").exists())
        await claim(self, *arguments, **more)

    monkeypatch.setattr(SessionLog, "claim", late)
    assert (await one_turn(thread)).outcome == "completed"
    assert in_place == [False]
    assert connects.count("clone") == 1
    assert not list(workspace_of(thread).glob(f"{CLONE}*"))


async def test_one_that_came_ahead_is_no_good_where_somebody_had_the_session_after_all(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    """What they pushed while we cloned is what the turn goes on with."""
    own = thread.settings.data / "repos" / f"{thread.key.team}-{ADA.id}.git"
    theirs = branch_prefix(thread.key.thread) + "theirs"

    async def late(self: SessionLog, *arguments, **more) -> None:
        await until_cloned_beside(thread)
        await asyncio.to_thread(pushed, own, theirs)
        claimed = Claimed(lease=1, holder="w-former", attempt=1)
        await thread.bus.publish(Draft(subject=claimed.subject(thread.key), message=claimed, fence=Fence(0)))
        await claim(self, *arguments, **more)

    monkeypatch.setattr(SessionLog, "claim", late)
    end = await one_turn(thread)
    assert (end.outcome, end.branch) == ("completed", theirs)
    assert connects.count("clone") == 2


def test_what_could_only_be_fetched_waits_for_the_claim(tmp_path: Path) -> None:
    settings = WorkerSettings(worker="w-1", data=tmp_path)
    work = Assignment(session="T1.C1.1-1", turn=1, attempt=1, pool="default", user=ADA, expires_at=now())
    (tmp_path / "workspaces" / work.session / ".git").mkdir(parents=True)
    # It would want a running loop.
    Opening(settings, work, Access.of({}, Secrets())).ahead()
    shutil.rmtree(tmp_path / "workspaces")
    with pytest.raises(RuntimeError, match="no running event loop"):
        Opening(settings, work, Access.of({}, Secrets())).ahead()


async def test_one_that_waits_for_the_claim_has_all_its_time_after_it(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, workspace_seconds=2.0)

    async def late(self: SessionLog, *arguments, **more) -> None:
        await until_cloned_beside(thread)
        await asyncio.sleep(thread.settings.workspace_seconds)
        await claim(self, *arguments, **more)

    monkeypatch.setattr(SessionLog, "claim", late)
    assert (await one_turn(thread)).outcome == "completed"


def pushed(repository: Path, branch: str) -> None:
    """Push a commit as whoever had the session before."""
    tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x.test"]
    made = subprocess.run([*git, "commit-tree", "-m", "work", tree], check=True, capture_output=True)
    commit = made.stdout.decode().strip()
    subprocess.run([*git, "update-ref", f"refs/heads/{branch}", commit], check=True)


async def test_whoever_does_not_get_the_session_leaves_no_clone_and_touches_nobodys(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, connects: list[str]
) -> None:
    async def late(*arguments, **more) -> HeldLease | None:
        await until_cloned_beside(thread)
        return await acquire(*arguments, **more)

    monkeypatch.setattr("services.worker.considering.acquire", late)
    await Bucket(thread.bus, LEASES.name, Lease).create(str(thread.key), Lease(holder="w-other"))
    others = workspace_of(thread) / f"{CLONE}-others"
    others.mkdir(parents=True)
    thread.start_worker()
    await thread.assign(await thread.say("hello"))
    async with asyncio.timeout(20):
        while connects != ["clone"] or "consider" in {each.get_name() for each in asyncio.all_tasks()}:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert list(workspace_of(thread).iterdir()) == [others]


@pytest.mark.parametrize("far", ["begun", "there"])
async def test_one_that_came_for_nothing_leaves_nothing_unfinished(
    thread: Thread, monkeypatch: pytest.MonkeyPatch, far: str
) -> None:
    """And nothing beside the workspace, as after every test here."""
    begun = asyncio.Event()

    async def slow(self: Git, *arguments: str, **more):
        if far == "begun":
            await asyncio.to_thread((Path(arguments[-1]) / "half").mkdir, parents=True)
            begun.set()
            await asyncio.Event().wait()
        return await connect(self, *arguments, **more)

    async def lost(_: Hearing) -> None:
        await (begun.wait() if far == "begun" else until_cloned(thread))
        raise LeaseLost(str(thread.key))

    monkeypatch.setattr(Git, "connect", slow)
    monkeypatch.setattr(Hearing, "run", lost)
    thread.start_worker()
    await thread.assign(await thread.say("hello"))
    worker, thread.worker = thread.worker, None
    assert worker
    with pytest.raises(LeaseLost):
        await worker
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("repository")]
    assert not list(workspace_of(thread).glob(f"{CLONE}*"))


async def test_a_worker_that_ends_while_one_is_given_up_leaves_nothing_of_it(
    thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, given_up, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(self: Hearing) -> None:
        await begun.wait()
        await hear(self)

    async def stubborn(self: Git, *arguments: str, **more):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.set()
            await ended.wait()
        return await connect(self, *arguments, **more)

    monkeypatch.setattr(Hearing, "run", late)
    monkeypatch.setattr(Git, "connect", stubborn)
    turn = await thread.say("hello")
    await thread.stop()
    await thread.assign(turn)
    thread.start_worker()
    worker, thread.worker = thread.worker, None
    assert worker
    await given_up.wait()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    ended.set()
    bringing = [task for task in asyncio.all_tasks() if task.get_name().startswith("repository")]
    await asyncio.gather(*bringing)


async def test_a_turn_that_is_said_after_one_that_was_over_already_has_it_up_to_date(
    thread: Thread, connects: list[str]
) -> None:
    thread.settings = msgspec.structs.replace(thread.settings, idle_seconds=60)
    turn = await thread.say("hello")
    await thread.stop()
    await thread.assign(turn)
    thread.start_worker()
    assert (await thread.end_of(turn)).outcome == "cancelled"
    before = len(connects)
    later = await thread.say("hello again")
    assert (await thread.end_of(later)).outcome == "completed"
    assert {*connects[before:]} & {"clone", "fetch"}
