"""Opening a session's workspace: its repository, its setup, each step told."""

import asyncio
from collections.abc import Callable

from schemas.work import Assignment
from services.runtime.tasks import drop
from services.worker.access import Access
from services.worker.core import Waiting
from services.worker.settings import WorkerSettings
from services.worker.workspace import Repository, Workspace, WorkspaceError, ensure_bare, open_repository
from services.worker.workspace.remote import parse

Tell = Callable[[str], None]
OWN = "own"
FIRST_STEP = "is preparing the workspace..."


class Opening:
    """Opens the workspace of the session, as `assignment` tells. Raises `WorkspaceError`.

    It may begin `ahead`, before the session is ours, with what leaves alone whatever others have of it; `claimed` tells that
    it is. `half_done` tells that a setup was cut short: what it left is nobody's work. `branch` is the session's as far as
    it was told, else empty. `repo` is what the session works on, as `TurnEnd` tells it, empty before.
    """

    def __init__(self, settings: WorkerSettings, assignment: Assignment, access: Access) -> None:
        self._settings = settings
        self._key = assignment.key
        self._path = settings.data / "workspaces" / str(assignment.key)
        self._assignment = assignment
        self.access = access
        self._owner = assignment.owner or assignment.user
        self._bringing: asyncio.Task[Repository] | None = None
        self._deadline = 0.0
        self._step = FIRST_STEP
        self._tell: Tell | None = None
        self._ours = asyncio.Event()
        self.half_done = False
        self.branch = assignment.branch or ""
        self.repo = ""

    def ahead(self) -> None:
        """Begin to clone, unless the session was here before: a fetch has to wait until it is ours."""
        if not (self._path / ".git").exists():
            self.begin()

    def claimed(self) -> None:
        """The session is ours: what waited for that has its time from now on."""
        self._renew_deadline()
        self._ours.set()

    def _renew_deadline(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self._settings.workspace_seconds

    def begin(self) -> asyncio.Task[Repository]:
        """Bring the repository here, unless that has begun: it takes long, and does not depend on what was said."""
        if self._bringing is None:
            self._renew_deadline()
            self._bringing = asyncio.create_task(self._bring(), name=f"repository {self._key}")
        return self._bringing

    async def workspace(self, opener: Waiting, tell: Tell) -> Workspace:
        """Return the workspace on the session's branch, begun for what `opener` said where there is none."""
        if self._bringing and self._bringing.cancelling():
            await self.close()
        self._tell = tell
        tell(self._step)
        try:
            repository = await self.begin()
            workspace = await repository.on_branch(opener.said.text, self.branch, deadline=self._deadline)
        except BaseException:
            await self.close()
            raise
        self._bringing = None
        return workspace

    async def close(self) -> None:
        """Leave nothing of what `begin` began and became no workspace: another turn begins anew.

        Cancelled before that is gone, it is to be called again.
        """
        self._step, self._tell = FIRST_STEP, None
        if self._bringing is None:
            return
        await drop(self._bringing, WorkspaceError)  # which whoever waited for it told
        bringing, self._bringing = self._bringing, None
        if not bringing.cancelled() and not bringing.exception():
            bringing.result().close()

    async def _bring(self) -> Repository:
        """Bring the session's repository, else the settings', else its owner's."""
        address = await self._address(self._assignment.repo)
        return await open_repository(
            path=self._path,
            url=address,
            credential=self.access.credential(address, self._settings.repo),
            thread=self._key.thread,
            worker=self._settings.worker,
            deadline=self._deadline,
            progress=self._progress,
            ours=self._ours,
        )

    def _progress(self, step: str) -> None:
        self._step = step
        if self._tell:
            self._tell(step)

    async def set_up(self, workspace: Workspace, tell: Tell) -> str:
        """Run the repository's own setup, once; return what went wrong in it, for the thread, which stops nobody."""
        deadline = asyncio.get_running_loop().time() + self._settings.setup_seconds
        self.half_done = True
        environ = self.access.environ | self._settings.marks
        result = await workspace.run_setup(environ, deadline=deadline, progress=tell)
        self.half_done = False
        if result is None or result.ok:
            return ""
        return f"{result.problem}\n```\n{result.output[-1500:]}\n```" if result.output else result.problem

    async def _address(self, repo: str | None) -> str:
        configured = self._settings.repo
        if repo == OWN or not (repo or configured):
            if not self._settings.own_repositories:
                raise WorkspaceError(
                    "No repository is set for this thread, and workers here keep none: set THREADMILL_REPO."
                )
            self.repo = OWN
            return await self._own_repository()
        # An address is kept without its secret, which stands in the settings where it is theirs.
        if configured and (repo is None or parse(configured).url == repo):
            repo = configured
        self.repo = parse(repo or "").url
        return repo or ""

    async def _own_repository(self) -> str:
        path = self._settings.data / "repos" / f"{self._key.team}-{self._owner.id}.git"
        await ensure_bare(path, deadline=self._deadline)
        return str(path)
