"""A bare repository of a person's own, for sessions that are given none."""

import tempfile
from pathlib import Path

from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.git import Git
from services.worker.workspace.remote import parse


async def ensure_bare(path: Path, *, deadline: float) -> None:
    """Create an empty bare repository with the default branch `main` at `path`, unless one is there.

    Any number of callers may do so at once. Raises `WorkspaceError` when something else is in the way.
    """
    if _is_repository(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    git = Git(parse(str(path)))
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as room:
            fresh = Path(room) / "repository"
            await git.run(
                "init", "-q", "--bare", "--template=", "-b", "main", "--", str(fresh), deadline=deadline
            )
            _put(fresh, path)
    finally:
        git.close()


def _put(fresh: Path, path: Path) -> None:
    try:
        fresh.rename(path)
    except OSError as e:
        if not _is_repository(path):  # else another caller was faster
            raise WorkspaceError(f"The repository {path.name} cannot be created: {e.strerror}.") from e


def _is_repository(path: Path) -> bool:
    return (path / "HEAD").is_file()
