"""A workspace that is wanted before the session is ours: nothing that others may have is touched."""

import asyncio
from pathlib import Path

import pytest

from services.worker.workspace.checkout import CLONE
from tests.workspace.conftest import Open
from tests.workspace.people import ANN, soon


class Ours(asyncio.Event):
    """Tells when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def wait(self) -> bool:
        self.awaited.set()
        return await super().wait()


async def test_where_the_session_was_before_nothing_is_fetched_until_it_is_ours(
    opened: Open, bare: Path, git_commands: list[tuple[str, ...]]
) -> None:
    await opened("a", bare)
    git_commands.clear()
    ours = Ours()
    opening = asyncio.create_task(opened("a", bare, ours=ours))
    await ours.awaited.wait()
    assert git_commands == []
    ours.set()
    await opening
    assert git_commands[0][0] == "fetch"


async def test_a_clone_waits_beside_what_others_began_which_is_never_anybodys_work(
    opened: Open, bare: Path, tmp_path: Path, git_commands: list[tuple[str, ...]]
) -> None:
    others = tmp_path / "a" / f"{CLONE}-others" / "half"
    others.mkdir(parents=True)
    (others / "pack").write_text("half")
    ours = Ours()
    opening = asyncio.create_task(opened("a", bare, ours=ours))
    await ours.awaited.wait()
    assert others.exists()
    assert not (tmp_path / "a" / ".git").exists()
    ours.set()
    workspace = await opening
    assert [command[0] for command in git_commands].count("clone") == 1
    assert not others.exists()
    others.mkdir(parents=True)
    (others / "pack").write_text("half, and late")
    assert await workspace.autosave(ANN, "nothing", deadline=soon()) is None


@pytest.mark.parametrize("before", [False, True], ids=["for the first time", "again"])
async def test_what_others_left_half_is_gone_where_the_session_is_ours(
    opened: Open, bare: Path, tmp_path: Path, before: bool
) -> None:
    if before:
        await opened("a", bare)
    others = tmp_path / "a" / f"{CLONE}-others"
    others.mkdir(parents=True)
    await opened("a", bare)
    assert not others.exists()
