"""A remote that wants credentials: git gets them when it asks, for that remote alone, and nobody else ever sees them."""

import asyncio
from pathlib import Path

import psutil
import pytest

from services.worker.workspace import BasicAuth, WorkspaceError, checkout, process
from services.worker.workspace.git import Git
from services.worker.workspace.remote import parse
from tests.workspace.people import THREAD, alive, git, remote_file, save, soon
from tests.workspace.smart_http import TOKEN, USER, serving

BRANCH = f"threadmill/{THREAD}-fix-the-login"


@pytest.fixture
async def server(bare, tmp_path):
    async with serving(tmp_path) as running:
        yield running


async def credential():
    return BasicAuth(USER, TOKEN)


def files_with(text: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def spawned(monkeypatch):
    """The arguments and the environment of every process that is started."""
    started = []
    run = process.run

    async def noted(argv, **more):
        started.append((argv, more["env"]))
        return await run(argv, **more)

    monkeypatch.setattr(process, "run", noted)
    return started


async def test_a_session_works_over_http_and_its_token_is_nowhere_to_be_found(
    opened, server, bare, tmp_path, spawned, monkeypatch
):
    monkeypatch.setattr(checkout, "PERCENT_SECONDS", 0.0)  # as of a repository that takes its time
    told = []
    url = f"{server.url}/origin.git"
    workspace = await opened("a", url, credential=credential, progress=told.append)
    (workspace.path / "a").write_text("1")
    _, push = await save(workspace)
    assert (push.ok, push.problem, remote_file(bare, BRANCH, "a")) == (True, "", "1")
    assert set(server.seen) == {(USER, TOKEN)}
    assert files_with(TOKEN, tmp_path) == []
    assert spawned
    assert TOKEN not in repr(spawned)
    assert not any(TOKEN in line for line in told)
    assert "Receiving objects 100%" in told
    assert git(workspace.path, "config", "remote.origin.url") == url


async def test_others_work_is_fetched_and_merged_over_http(opened, server, bare):
    url = f"{server.url}/origin.git"
    mine, theirs = await opened("a", url, credential=credential), await opened("b", bare)
    (theirs.path / "theirs").write_text("t")
    await save(theirs)
    (mine.path / "mine").write_text("m")
    _, push = await save(mine)
    assert (push.ok, push.merged, remote_file(bare, BRANCH, "theirs")) == (True, True, "t")


async def test_a_secret_in_the_address_is_taken_out_and_used(opened, server, tmp_path, spawned):
    url = f"{server.url}/origin.git".replace("//", f"//{USER}:{TOKEN}@")
    workspace = await opened("a", url)
    (workspace.path / "a").write_text("1")
    assert (await save(workspace))[1].ok
    assert files_with(TOKEN, tmp_path) == []
    assert TOKEN not in repr(spawned)
    assert TOKEN not in repr(workspace)


async def test_a_token_is_asked_for_each_time_so_it_can_be_short_lived(opened, server):
    async def current():
        return BasicAuth(USER, server.token)

    workspace = await opened("a", f"{server.url}/origin.git", credential=current)
    server.token = "the-next-one"
    (workspace.path / "a").write_text("1")
    assert (await save(workspace))[1].ok


@pytest.mark.parametrize("auth", [None, BasicAuth(USER, "wrong")])
async def test_refused_credentials_are_a_sentence_and_nothing_hangs(opened, server, auth):
    async def given():
        return auth

    with pytest.raises(WorkspaceError, match="refused the credentials"):
        await opened("a", f"{server.url}/origin.git", credential=given if auth else None)


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "refused the credentials"), (404, "no such repository")]
)
async def test_a_remote_that_refuses_is_not_asked_again(opened, server, status, reason):
    server.failures = [status, 500]
    with pytest.raises(WorkspaceError, match=reason):
        await opened("a", f"{server.url}/origin.git", credential=credential)
    assert server.failures == [500]


async def test_a_remote_that_fails_for_a_moment_is_asked_again_which_is_told(opened, server):
    told, url = [], f"{server.url}/origin.git"
    for server.failures in ([503, 502], [500]):  # cloned first, fetched later
        told.clear()
        workspace = await opened("a", url, credential=credential, progress=told.append)
        assert (workspace.branch, server.failures) == (BRANCH, [])
        assert "The remote does not answer; trying again" in told
    (workspace.path / "a").write_text("1")
    server.failures = [503]
    _, push = await save(workspace)
    assert (
        push.problem == "git push failed: the remote does not answer. It is tried again with the next save."
    )
    assert (await save(workspace))[1].ok


async def test_a_remote_that_is_not_there_yet_is_waited_for(opened, bare, tmp_path):
    async with serving(tmp_path) as gone:
        port = int(gone.url.rpartition(":")[2])
    asked = asyncio.Event()
    opening = asyncio.create_task(
        opened(
            "a",
            f"{gone.url}/origin.git",
            credential=credential,
            progress=lambda step: asked.set() if "answer" in step else None,
        )
    )
    await asyncio.wait_for(asked.wait(), 20)
    async with serving(tmp_path, port):
        assert (await opening).branch == BRANCH


async def test_a_remote_that_never_comes_is_given_up_at_the_deadline(opened, bare, tmp_path):
    async with serving(tmp_path) as gone:
        pass
    with pytest.raises(WorkspaceError, match=r"^git clone failed: the remote does not answer\.$"):
        await opened("a", f"{gone.url}/origin.git", deadline=soon(1.2))
    assert not list(tmp_path.glob("a/*"))


async def test_a_redirect_to_another_host_does_not_get_the_token(opened, server, tmp_path):
    async with serving(tmp_path) as thief:
        server.redirect = thief.url
        with pytest.raises(WorkspaceError):
            await opened("a", f"{server.url}/origin.git", credential=credential)
        assert thief.asked.is_set()
        assert thief.seen == []


async def test_a_redirect_of_who_has_shown_the_token_does_not_take_it_along(opened, server, tmp_path):
    async with serving(tmp_path) as thief:
        server.redirect_known = thief.url
        with pytest.raises(WorkspaceError):
            await opened("a", f"{server.url}/origin.git", credential=credential)
        assert server.seen == [(USER, TOKEN)]
        assert thief.asked.is_set()
        assert thief.seen == []


async def test_a_submodule_of_a_repository_is_not_asked_for_let_alone_with_the_token(
    opened, server, bare, tmp_path
):
    async with serving(tmp_path) as thief:
        seeded = tmp_path / "seed"
        (seeded / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = {thief.url}/origin.git\n')
        git(seeded, "add", "-A")
        git(seeded, "update-index", "--add", "--cacheinfo", f"160000,{git(seeded, 'rev-parse', 'HEAD')},s")
        git(seeded, "commit", "-qm", "A submodule")
        git(seeded, "push", "-q", "origin", "main")
        workspace = await opened("a", f"{server.url}/origin.git", credential=credential)
        git(workspace.path, "config", "submodule.s.active", "true")
        (workspace.path / "a").write_text("1")
        assert (await save(workspace))[1].ok
        assert not thief.asked.is_set()


async def test_the_agents_commands_get_no_credential(opened, server):
    workspace = await opened("a", f"{server.url}/origin.git", credential=credential)
    server.seen.clear()
    server.asked.clear()
    await asyncio.to_thread(git, workspace.path, "-c", "core.askPass=true", "fetch", "origin", check=False)
    assert server.asked.is_set()
    assert not [entry for entry in server.seen if TOKEN in entry]


async def test_a_repository_that_is_not_there_is_a_sentence(opened, server):
    with pytest.raises(WorkspaceError, match="no such repository"):
        await opened("a", f"{server.url}/nothing.git", credential=credential)


async def test_the_deadline_ends_git_and_all_that_it_started(opened, server, tmp_path):
    server.hang = True
    opening = asyncio.create_task(
        opened("a", f"{server.url}/origin.git", credential=credential, deadline=soon(8.0))
    )
    await server.asked.wait()
    started = [child for child in psutil.Process().children(recursive=True) if "git" in child.name()]
    assert any("remote-http" in child.name() for child in started)
    with pytest.raises(WorkspaceError, match="git clone did not end in time"):
        await opening
    assert not alive(started)
    assert not list(tmp_path.glob("a/*"))
    server.hang = False
    assert (await opened("a", f"{server.url}/origin.git", credential=credential)).branch == BRANCH


async def test_a_credential_that_does_not_come_is_not_waited_for_beyond_the_deadline(opened, server):
    async def never():
        await asyncio.Event().wait()

    with pytest.raises(WorkspaceError, match="credential for the repository did not come in time"):
        await opened("a", f"{server.url}/origin.git", credential=never, deadline=soon(0.1))


async def test_cancelling_ends_git_and_all_that_it_started(opened, server):
    server.hang = True
    before = set(psutil.Process().children(recursive=True))
    opening = asyncio.create_task(opened("a", f"{server.url}/origin.git", credential=credential))
    await server.asked.wait()
    started = set(psutil.Process().children(recursive=True)) - before
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not alive(started)


async def test_no_descriptor_is_left_open(opened, server):
    workspace = await opened("a", f"{server.url}/origin.git", credential=credential)
    before = descriptors()
    for number in range(3):
        (workspace.path / "a").write_text(str(number))
        assert (await save(workspace))[1].ok
    assert descriptors() <= before + 1  # a connection that the server keeps open


def test_a_closed_runner_leaves_no_folder(temporary_folders, bare):
    runner = Git(parse(str(bare)))
    assert list(temporary_folders.iterdir())
    runner.close()
