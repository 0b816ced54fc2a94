"""What the session offers its agent as tools: a title, a look at itself, a file for the thread."""

import asyncio
import mimetypes
import os
from collections.abc import Callable
from pathlib import Path

from schemas.events import FileShared, Titled
from schemas.keys import SessionKey
from schemas.people import File
from services.runtime.errors import Unavailable
from services.runtime.files import Files
from services.worker.session_log import SessionLog

MAX_FILE_BYTES = 20 * 2**20


class Tools:
    """The `SessionTools` of one session.

    `folder` returns the workspace, None before it is open; `describe` tells what there is to know of the session now.
    """

    def __init__(
        self,
        key: SessionKey,
        log: SessionLog,
        files: Files,
        *,
        folder: Callable[[], Path | None],
        describe: Callable[[], str],
        new_id: Callable[[], str],
    ) -> None:
        self._key = key
        self._log = log
        self._files = files
        self._folder = folder
        self._describe = describe
        self._new_id = new_id

    async def set_title(self, title: str) -> str:
        """Give the session a title."""
        await self._log.event(Titled(title=" ".join(title.split())[:150]))
        return "The title is set."

    async def session_info(self) -> str:
        """Describe the session."""
        return self._describe()

    async def share_file(self, path: str, comment: str) -> str:
        """Show a file of the workspace in the thread."""
        folder = self._folder()
        if folder is None:
            return "There is no workspace yet."
        try:
            name, data = await asyncio.to_thread(_read_inside, folder, path)
        except (OSError, ValueError) as e:
            return f"The file cannot be shared: {e}"
        file = File(
            object=f"{self._key}/{self._new_id()}",
            name=name,
            media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            size=len(data),
        )
        try:
            await self._files.put(file.object, self._log.redaction.data(data))
        except Unavailable as e:
            return f"The file cannot be shared now: {e}"
        await self._log.event(FileShared(file=file, comment=comment[:3000]))
        return f"{name} is in the thread."


def _read_inside(folder: Path, path: str) -> tuple[str, bytes]:
    """Read a regular file that really lies in `folder`, links followed. Raises `ValueError` and `OSError`."""
    real = (folder / path).resolve(strict=True)
    if not real.is_relative_to(folder.resolve()):
        raise ValueError("it is outside the workspace")
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES // 2**20} MB")
    return real.name, data
