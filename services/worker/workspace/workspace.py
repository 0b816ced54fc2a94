"""An open workspace: what a worker does with it, one thing at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.worker.workspace import attachments, autosave, setup, state
from services.worker.workspace.autosave import Commit
from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.git import Git
from services.worker.workspace.naming import Author
from services.worker.workspace.push import Push, Pusher
from services.worker.workspace.setup import SetupResult
from services.worker.workspace.state import State


@dataclass(kw_only=True)
class Workspace:
    """The session's folder `path`, on `branch`, which began at the remote's default branch `base`.

    `resumed` says that the folder was there already. All deadlines are times of the event loop.
    """

    path: Path
    branch: str
    base: str
    worker: str
    resumed: bool
    git: Git
    state: State

    async def autosave(
        self, author: Author, message: str, *, deadline: float, co_authors: Sequence[Author] = ()
    ) -> Commit | None:
        """Commit everything that is not ignored; return what is new since the last push. Raises `WorkspaceError`."""
        head, problem = await autosave.commit_all(self.git, author, message, co_authors, deadline=deadline)
        return await autosave.describe(self.git, head, self.state.since, problem, deadline=deadline)

    async def push(self, fence: Callable[[], bool], *, deadline: float) -> Push:
        """Push HEAD to the session's branch while `fence` holds; a failure is a value with its reason."""
        try:
            return await Pusher(self.git, self.state, self.branch, self.worker).push(fence, deadline=deadline)
        except WorkspaceError as e:
            return Push(ok=False, problem=str(e))
        finally:
            state.store(self.path / ".git", self.state)

    async def run_setup(
        self, env: Mapping[str, str], *, deadline: float, progress: Callable[[str], None]
    ) -> SetupResult | None:
        """Run `.threadmill/setup` unless this workspace had its run; None when there is nothing to do."""
        if self.state.setup_done:
            return None
        result = await setup.run_setup(self.path, env, deadline=deadline, progress=progress)
        if result is not None:
            self.state.setup_done = True
            state.store(self.path / ".git", self.state)
        return result

    def new_attachment(self, name: str) -> BinaryIO:
        """Open a new file for an attachment; its `name` is the absolute path. Raises `WorkspaceError`."""
        return attachments.create(self.path, name)

    def close(self) -> None:
        """Remove what was kept outside the workspace; the folder itself stays."""
        self.git.close()
