"""What an agent does with git on its own, and what a killed git leaves behind: the work is saved all the same."""

import asyncio
import os

from services.worker.workspace import locks
from tests.workspace.people import ANN, THREAD, git, holding, remote_file, save, soon

BRANCH = f"threadmill/{THREAD}-fix-the-login"


async def test_work_on_another_branch_reaches_the_sessions_branch_and_head_stays(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "before").write_text("1")
    await save(workspace)
    git(workspace.path, "switch", "-q", "-c", "idea")
    for text in ("1", "2"):
        (workspace.path / "idea").write_text(text)
        _, push = await save(workspace)
        assert push.ok
        assert remote_file(bare, BRANCH, "idea") == text
    assert git(workspace.path, "branch", "--show-current") == "idea"
    assert remote_file(bare, BRANCH, "before") == "1"
    assert git(bare, "branch", "--list", "idea") == ""


async def test_work_on_a_detached_head_that_lacks_the_branch_is_merged(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "before").write_text("1")
    await save(workspace)
    git(workspace.path, "checkout", "-q", "--detach", "origin/main")
    (workspace.path / "detached").write_text("2")
    _, push = await save(workspace)
    assert push.ok
    assert (remote_file(bare, BRANCH, "before"), remote_file(bare, BRANCH, "detached")) == ("1", "2")


async def test_looking_at_an_old_commit_publishes_nothing(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "before").write_text("1")
    _, pushed = await save(workspace)
    git(workspace.path, "checkout", "-q", "--detach", "origin/main")
    commit, push = await save(workspace)
    assert (commit, push.ok, push.sha) == (None, True, pushed.sha)
    assert git(bare, "rev-parse", BRANCH) == pushed.sha


async def test_a_rewritten_history_is_pushed_as_it_stands_and_the_old_one_stays_reachable(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "README.md").write_text("first try\n")
    _, old = await save(workspace)
    (workspace.path / "README.md").write_text("second try\n")
    git(workspace.path, "commit", "-qa", "--amend", "-m", "Amended")
    _, push = await save(workspace)
    assert (push.ok, push.merged) == (True, False)
    assert remote_file(bare, BRANCH, "README.md") == "second try"
    git(bare, "merge-base", "--is-ancestor", old.sha, BRANCH)
    git(workspace.path, "reset", "-q", "--hard", "origin/main")
    _, push = await save(workspace)
    assert (push.ok, remote_file(bare, BRANCH, "README.md")) == (True, "hello")


async def test_an_unfinished_rebase_is_kept_aside_and_not_disturbed(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / "README.md").write_text("ours\n")
    _, before = await save(workspace)
    git(workspace.path, "switch", "-q", "-c", "other", "origin/main")
    (workspace.path / "README.md").write_text("other\n")
    git(workspace.path, "commit", "-qam", "Other")
    git(workspace.path, "switch", "-q", BRANCH)
    git(workspace.path, "rebase", "other", check=False)
    (workspace.path / "new").write_text("n")
    commit, push = await save(workspace)
    assert commit.files == 2
    assert (push.ok, push.ref) == (False, "refs/threadmill/unfinished/worker-a")
    assert "<<<<<<<" in remote_file(bare, push.ref, "README.md")
    assert remote_file(bare, push.ref, "new") == "n"
    assert git(bare, "rev-parse", BRANCH) == before.sha
    assert git(workspace.path, "ls-files", "-u")

    (workspace.path / "README.md").write_text("settled\n")
    git(workspace.path, "add", "README.md")
    git(workspace.path, "-c", "core.editor=true", "rebase", "--continue")
    _, push = await save(workspace)
    assert (push.ok, remote_file(bare, BRANCH, "README.md")) == (True, "settled")


async def test_a_repository_inside_the_repository_is_told(opened, bare):
    workspace = await opened("a", bare)
    git(workspace.path, "clone", "-q", str(bare), "vendored")
    git(workspace.path, "init", "-q", "started")
    (workspace.path / "a").write_text("1")
    commit, push = await save(workspace)
    assert "started" in commit.problem
    assert (push.ok, remote_file(bare, BRANCH, "a")) == (True, "1")
    (workspace.path / "started/.git").rename(workspace.path.parent / "gone")
    git(workspace.path, "clone", "-q", str(bare), "second")
    commit, _ = await save(workspace)
    assert commit.problem == "`second` is a repository of its own; only a reference to its commit is saved."


async def test_the_lock_of_a_killed_git_is_removed_once_nobody_holds_it(opened, bare, monkeypatch):
    monkeypatch.setattr(locks, "LIFE", 0.3)
    workspace = await opened("a", bare)
    (workspace.path / ".git/index.lock").touch()
    (workspace.path / f".git/refs/heads/{BRANCH}.lock").touch()
    (workspace.path / "a").write_text("1")
    commit, push = await save(workspace)
    assert (commit.files, push.ok) == (1, True)


async def test_a_lock_that_somebody_holds_is_waited_for(opened, bare, monkeypatch):
    monkeypatch.setattr(locks, "LIFE", 60)
    workspace = await opened("a", bare)
    lock = workspace.path / ".git/index.lock"
    lock.touch()
    (workspace.path / "a").write_text("1")
    saving = asyncio.create_task(workspace.autosave(ANN, "Work", deadline=soon()))
    done, _ = await asyncio.wait([saving], timeout=0.5)
    assert not done
    lock.unlink()
    assert (await saving).files == 1


async def test_what_lies_in_the_work_tree_can_be_anything(opened, bare):
    workspace = await opened("a", bare)
    os.mkfifo(workspace.path / "pipe")
    (workspace.path / "dangling").symlink_to("/nowhere")
    (workspace.path / "-rf").write_text("1")
    (workspace.path / b"\xff\xfe".decode(errors="surrogateescape")).write_text("1")
    commit, push = await save(workspace, "-m \0 ☃ \ud800")
    assert (commit.files, commit.problem, push.ok) == (3, "", True)


async def test_a_lost_git_directory_is_a_sentence(opened, bare):
    workspace = await opened("a", bare)
    (workspace.path / ".git").rename(workspace.path / "elsewhere")
    push = await workspace.push(holding, deadline=soon())
    assert not push.ok
    assert push.problem.startswith("git rev-parse failed")
