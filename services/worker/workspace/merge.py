"""Joining two lines of work among the objects alone: no work tree is touched, so a conflict leaves nothing behind."""

from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.git import Git


class ConflictError(WorkspaceError):
    """Two lines of work changed the same places; `files` says which."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        named = ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
        super().__init__(f"Both sides changed {named}.")


async def contains(git: Git, tip: str, commit: str, *, deadline: float) -> bool:
    """Say whether `commit` is part of `tip`'s history; an empty one always is."""
    if commit in {"", tip}:
        return True
    return (await git.run("merge-base", "--is-ancestor", commit, tip, deadline=deadline, ok=(0, 1))).code == 0


async def join(git: Git, theirs: str, ours: str, *, deadline: float) -> str:
    """Return a commit that has both, made when neither has the other. Raises `ConflictError`."""
    if await contains(git, ours, theirs, deadline=deadline):
        return ours
    if await contains(git, theirs, ours, deadline=deadline):
        return theirs
    merged = await git.run(
        "merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", "--no-messages", "-z", theirs, ours,
        deadline=deadline,
        ok=(0, 1),
    )  # fmt: skip
    tree, *files = [part for part in merged.out.split("\0") if part]
    if merged.code:
        raise ConflictError(files)
    return await _commit(git, tree, theirs, ours, "Merge what others pushed", deadline=deadline)


async def supersede(git: Git, theirs: str, ours: str, *, deadline: float) -> str:
    """Return a commit with the content of `ours` and the history of both: how a rewritten history is kept whole."""
    if await contains(git, ours, theirs, deadline=deadline):
        return ours
    return await _commit(
        git,
        f"{ours}^{{tree}}",
        theirs,
        ours,
        "Keep the history from before it was rewritten",
        deadline=deadline,
    )


async def _commit(git: Git, tree: str, theirs: str, ours: str, message: str, *, deadline: float) -> str:
    made = await git.run("commit-tree", "-p", ours, "-p", theirs, "-m", message, tree, deadline=deadline)
    return made.out.strip()
