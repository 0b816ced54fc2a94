"""Work inside an unfinished merge or rebase: kept as a commit of its own, while index, HEAD and branch stay untouched."""

import shutil
from pathlib import Path

from services.worker.workspace.errors import left_out
from services.worker.workspace.git import Git

UNDER_WAY = ("rebase-merge", "rebase-apply")  # what git keeps in its directory while commits are replayed
INDEX = "threadmill/index"


def under_way(git_dir: Path) -> bool:
    """Say whether commits are being replayed, so that HEAD belongs to that alone."""
    return any((git_dir / name).exists() for name in UNDER_WAY)


async def take(
    git: Git, workspace: Path, head: str, message: str, author: dict[str, str], *, deadline: float
) -> tuple[str, str]:
    """Return a commit on top of `head` with everything that is not ignored, as it lies there, and what was left out."""
    index = _copy_index(workspace / ".git")
    env = {"GIT_INDEX_FILE": str(index)}
    try:
        added = await git.run("add", "-A", "--ignore-errors", env=env, deadline=deadline, ok=(0, 1))
        tree = await git.run("write-tree", env=env, deadline=deadline)
    finally:
        index.unlink(missing_ok=True)
    parent = ["-p", head] if head else []
    made = await git.run(
        "commit-tree", *parent, "-F", "-", tree.out.strip(), stdin=message, env=author, deadline=deadline
    )
    return made.out.strip(), left_out(added.code, added.err)


def _copy_index(git_dir: Path) -> Path:
    copy = git_dir / INDEX
    if (git_dir / "index").exists():
        shutil.copyfile(git_dir / "index", copy)
    return copy
