"""Real git and real remotes: bare repositories on disk, and a folder for each machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from services.worker.workspace import Workspace, ensure_bare, open_repository
from services.worker.workspace.git import Git
from tests.workspace.people import THREAD, seed, soon

Open = Callable[..., Awaitable[Workspace]]
OURS = asyncio.Event()
OURS.set()


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Whatever the code puts into a temporary folder is gone at the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert [entry.name for entry in folder.iterdir()] == []


@pytest.fixture
async def empty(tmp_path: Path) -> Path:
    bare = tmp_path / "empty.git"
    await ensure_bare(bare, deadline=soon())
    return bare


@pytest.fixture
async def bare(tmp_path: Path) -> Path:
    """A repository whose `main` has one commit."""
    bare = tmp_path / "origin.git"
    await ensure_bare(bare, deadline=soon())
    seed(
        bare,
        {"README.md": "hello\n", "src/app.py": "print('hi')\n", ".gitignore": "*.log\n"},
        tmp_path / "seed",
    )
    return bare


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Open workspaces, each machine a folder of its own, and close them at the end."""
    all_opened: list[Workspace] = []

    async def open_on(
        machine: str, url: Path | str, *, thread: str = THREAD, title: str = "Fix the login", **more
    ):
        deadline, known = more.pop("deadline", soon()), more.pop("known", "")
        repository = await open_repository(
            path=tmp_path / machine,
            url=str(url),
            thread=thread,
            worker=f"worker-{machine}" if machine.isalnum() else "worker-x",
            deadline=deadline,
            progress=more.pop("progress", lambda _: None),
            ours=more.pop("ours", OURS),
            **more,
        )
        try:
            workspace = await repository.on_branch(title, known, deadline=deadline)
        except BaseException:
            repository.close()
            raise
        all_opened.append(workspace)
        return workspace

    yield open_on
    for workspace in all_opened:
        workspace.close()


@pytest.fixture
def git_commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every git command that is run, in order."""
    seen: list[tuple[str, ...]] = []
    run = Git.run

    async def noted(self: Git, *args: str, **more):
        seen.append(args)
        return await run(self, *args, **more)

    monkeypatch.setattr(Git, "run", noted)
    return seen
