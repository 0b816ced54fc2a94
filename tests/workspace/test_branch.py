"""A fresh clone says by its files what git would say of it, or nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.worker.workspace import branch
from services.worker.workspace.branch import Refs, read_refs, refs_in_clone
from services.worker.workspace.git import Git
from services.worker.workspace.remote import parse
from tests.workspace.people import THREAD, git, soon

OURS = f"threadmill/{THREAD}-fix-the-login"


@pytest.fixture
def clone(bare: Path) -> Iterator[Git]:
    """A git for the repository."""
    runner = Git(parse(str(bare)))
    yield runner
    runner.close()


async def cloned(runner: Git, bare: Path, tmp_path: Path) -> Path:
    """Clone as a session does; return the git directory."""
    path = tmp_path / "clone"
    await runner.connect("clone", "-q", "--no-checkout", "--template=", str(bare), str(path), deadline=soon())
    (path / ".git" / "info").mkdir()
    runner.bind(path)
    return path / ".git"


@pytest.mark.parametrize("default", ["main", "feature/deep", f"threadmill/{THREAD[:-1]}-like-ours"])
async def test_the_files_of_a_clone_say_what_git_says(clone, bare, tmp_path, default: str) -> None:
    git(bare, "tag", "-a", "-m", "a tag with a commit of its own", "v1", "main")
    if default != "main":
        git(bare, "branch", default, "main")
        git(bare, "symbolic-ref", "HEAD", f"refs/heads/{default}")
    git_dir = await cloned(clone, bare, tmp_path)
    found = refs_in_clone(git_dir, THREAD)
    assert found is not None
    assert found == await read_refs(clone, THREAD, deadline=soon())
    assert (found.base, found.base_sha) == (default, git(bare, "rev-parse", default))


async def test_a_thread_that_has_branches_is_left_to_git_which_knows_the_newest(
    clone, bare, tmp_path
) -> None:
    git(bare, "branch", OURS, "main")
    assert refs_in_clone(await cloned(clone, bare, tmp_path), THREAD) is None


async def test_the_files_say_too_that_a_remote_has_no_commit(empty, tmp_path) -> None:
    runner = Git(parse(str(empty)))
    git_dir = await cloned(runner, empty, tmp_path)
    assert refs_in_clone(git_dir, THREAD) == await read_refs(runner, THREAD, deadline=soon()) == Refs()
    (git_dir / "reftable").mkdir()
    assert refs_in_clone(git_dir, THREAD) is None
    runner.close()


async def test_a_remote_whose_default_branch_is_missing_is_left_to_git(clone, bare, tmp_path) -> None:
    git(bare, "symbolic-ref", "HEAD", "refs/heads/gone")
    assert refs_in_clone(await cloned(clone, bare, tmp_path), THREAD) is None


async def test_a_clone_with_very_many_branches_is_left_to_git(
    clone, bare, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_dir = await cloned(clone, bare, tmp_path)
    monkeypatch.setattr(branch, "MAX_PACKED", (git_dir / "packed-refs").stat().st_size - 1)
    assert refs_in_clone(git_dir, THREAD) is None
