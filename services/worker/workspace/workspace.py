"""An open workspace: what a worker does with it, one thing at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from services.worker.workspace import attachments, autosave, setup, state
from services.worker.workspace.autosave import Commit
from services.worker.workspace.errors import GitError, WorkspaceError
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
    _unfinished: str = ""
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def autosave(
        self, author: Author, message: str, *, deadline: float, co_authors: Sequence[Author] = ()
    ) -> Commit | None:
        """Commit everything that is not ignored; return what is new since the last push. Raises `WorkspaceError`."""
        async with self._alone:
            saved = await autosave.save(self.git, self.path, author, message, co_authors, deadline=deadline)
            self._unfinished = saved.unfinished
            newest, since = saved.unfinished or saved.head, self.state.since
            return await autosave.describe(self.git, newest, since, saved.problem, deadline=deadline)

    async def push(self, fence: Callable[[], bool], *, deadline: float) -> Push:
        """Push HEAD to the session's branch while `fence` holds; a failure is a value with its reason.

        What the last `autosave` found inside an unfinished merge or rebase goes aside instead.
        """
        async with self._alone:
            try:
                pusher = Pusher(self.git, self.state, self.branch, self.worker)
                if self._unfinished:
                    return await pusher.set_aside(self._unfinished, deadline=deadline)
                result = await pusher.push(fence, deadline=deadline)
                state.store(self.path / ".git", self.state)
            except WorkspaceError as e:
                again = " It is tried again with the next save." if isinstance(e, GitError) and e.away else ""
                return Push(ok=False, problem=f"{e}{again}")
            return result

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
