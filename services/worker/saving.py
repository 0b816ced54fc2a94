"""When work is saved: at turn ends, while idle until it is pushed, before release, and aside once the lease is lost."""

import asyncio
from collections.abc import Callable

import structlog

from schemas.events import CommitPushed, Event, Notice
from schemas.inputs import Said
from services.worker.lease import LeaseLost
from services.worker.save import save
from services.worker.session_log import SessionLog
from services.worker.workspace import Workspace

log = structlog.get_logger(__name__)


class Saving:
    """Saves one at a time. `unsaved` tells that a push failed and is to be tried again."""

    def __init__(self, log: SessionLog, fence: Callable[[], bool]) -> None:
        self._log = log
        self._fence = fence
        self._alone = asyncio.Lock()
        self._later: set[asyncio.Task[tuple[CommitPushed, ...]]] = set()
        self._complaint = ""
        self._last: Said | None = None
        self.unsaved = False

    async def save(self, workspace: Workspace | None, opener: Said, turn: int) -> tuple[CommitPushed, ...]:
        """Commit and push, tell the thread, and return the commits; nothing without a workspace. Raises `LeaseLost`."""
        if workspace is None:
            return ()
        self._last = opener
        async with self._alone:
            events = await save(workspace, opener.user, _title(opener), turn, self._fence)
            for event in self._news(events):
                await self._log.event(event)
        return tuple(event for event in events if isinstance(event, CommitPushed))

    async def again(self, workspace: Workspace | None) -> tuple[CommitPushed, ...]:
        """Save what came after the last turn, and what could not be pushed then. Raises `LeaseLost`."""
        return await self.save(workspace, self._last, 0) if self._last else ()

    async def aside(self, workspace: Workspace | None) -> None:
        """Push to the ref of the lost, telling nobody: the session is somebody else's."""
        if workspace is not None and self._last is not None:
            await save(workspace, self._last.user, _title(self._last), 0, lambda: False)

    def began(self, opener: Said) -> None:
        """Note whose work is in the workspace from now on."""
        self._last = opener

    def goes_on(self, saving: asyncio.Task[tuple[CommitPushed, ...]]) -> None:
        """Let a save that nobody waits for come to its end before the next thing happens in the workspace."""
        self._later.add(saving)
        saving.add_done_callback(self._ended)

    def _ended(self, saving: asyncio.Task[tuple[CommitPushed, ...]]) -> None:
        self._later.discard(saving)
        error = None if saving.cancelled() else saving.exception()
        if error and not isinstance(error, LeaseLost):
            log.error("the work could not be saved", session=str(self._log.key), error=str(error))

    async def settled(self) -> None:
        """Wait for the saves under way."""
        if self._later:
            await asyncio.wait(self._later)

    def _news(self, events: tuple[Event, ...]) -> list[Event]:
        complaint = "\n".join(each.text for each in events if isinstance(each, Notice))
        repeated, self._complaint = complaint == self._complaint, complaint
        self.unsaved = any(isinstance(each, Notice) and each.level == "error" for each in events)
        return [each for each in events if not (repeated and isinstance(each, Notice))]


def _title(opener: Said) -> str:
    lines = opener.text.strip().splitlines()
    return lines[0][:72] if lines else "Work in progress"
