"""Keeps a workspace in one file: written whole or not at all, readable by its owner alone."""

import asyncio
import os
from pathlib import Path

import msgspec

from services.local.errors import LocalError
from services.local.slack.model import State

SAVE_EVERY = 0.5


class UnreadableWorkspaceError(LocalError):
    """The kept workspace cannot be read."""


def load(path: Path) -> State | None:
    """The kept workspace, None if there is none. Raises UnreadableWorkspaceError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as e:
        raise UnreadableWorkspaceError(
            f"{path} is not a kept workspace ({e}); move it away to begin anew."
        ) from e


class Keeper:
    """Writes the workspace at most twice a second while it changes, and once more at the end."""

    def __init__(self, path: Path, state: State) -> None:
        self._path = path
        self._state = state
        self._changed = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def changed(self, _channel: str, _root: str) -> None:
        """Something is different."""
        self._changed.set()

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="keep workspace")

    async def stop(self) -> None:
        """Write what is left."""
        self._closing = True
        self._changed.set()
        if self._task:
            await self._task

    async def _run(self) -> None:
        while not self._closing:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.to_thread(_write, self._path, msgspec.json.encode(self._state))
            if not self._closing:
                await asyncio.sleep(SAVE_EVERY)
        await asyncio.to_thread(_write, self._path, msgspec.json.encode(self._state))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    draft.replace(path)
