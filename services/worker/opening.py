"""Opening a session's workspace: its repository, its setup, each step told."""

import asyncio
from collections.abc import Callable

from schemas.events import Notice
from schemas.work import Assignment
from services.worker.access import Access
from services.worker.core import Waiting
from services.worker.session_log import SessionLog
from services.worker.settings import WorkerSettings
from services.worker.workspace import Workspace, WorkspaceError, ensure_bare, open_workspace
from services.worker.workspace.remote import parse

Tell = Callable[[str], None]
OWN = "own"


class Opening:
    """Opens the workspace of the session behind `log`, as `assignment` tells. Raises `WorkspaceError`.

    `half_done` tells that a setup was cut short: what it left is nobody's work. `repo` is what the session works on, as
    `TurnEnd` tells it, empty before.
    """

    def __init__(
        self, settings: WorkerSettings, log: SessionLog, assignment: Assignment, access: Access
    ) -> None:
        self._settings = settings
        self._log = log
        self._assignment = assignment
        self._access = access
        self._owner = assignment.owner or assignment.user
        self.half_done = False
        self.repo = ""

    async def clone(self, opener: Waiting, tell: Tell) -> Workspace:
        """Return the workspace on the session's repository, else on the settings', else on its owner's."""
        tell("is preparing the workspace...")
        deadline = asyncio.get_running_loop().time() + self._settings.workspace_seconds
        address = await self._address(self._assignment.repo, deadline)
        return await open_workspace(
            path=self._settings.data / "workspaces" / str(self._log.key),
            url=address,
            credential=self._access.credential(address, self._settings.repo),
            thread=self._log.key.thread,
            known=self._assignment.branch or "",
            title=opener.said.text,
            worker=self._settings.worker,
            deadline=deadline,
            progress=tell,
        )

    async def set_up(self, workspace: Workspace, turn: int, tell: Tell) -> None:
        """Run the repository's own setup, once; what goes wrong in it is told in the thread and stops nobody."""
        deadline = asyncio.get_running_loop().time() + self._settings.setup_seconds
        self.half_done = True
        result = await workspace.run_setup(self._access.environ, deadline=deadline, progress=tell)
        self.half_done = False
        if result is not None and not result.ok:
            tail = f"\n```\n{result.output[-1500:]}\n```" if result.output else ""
            await self._log.event(Notice(turn=turn, level="warning", text=f"{result.problem}{tail}"))

    async def _address(self, repo: str | None, deadline: float) -> str:
        configured = self._settings.repo
        if repo == OWN or not (repo or configured):
            if not self._settings.own_repositories:
                raise WorkspaceError(
                    "No repository is set for this thread, and workers here keep none: set THREADMILL_REPO."
                )
            self.repo = OWN
            return await self._own_repository(deadline)
        # An address is kept without its secret, which stands in the settings where it is theirs.
        if configured and (repo is None or parse(configured).url == repo):
            repo = configured
        self.repo = parse(repo or "").url
        return repo or ""

    async def _own_repository(self, deadline: float) -> str:
        path = self._settings.data / "repos" / f"{self._log.key.team}-{self._owner.id}.git"
        await ensure_bare(path, deadline=deadline)
        return str(path)
