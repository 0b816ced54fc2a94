"""What a worker process has on this machine's disk: a log, a folder for what it leaves, the credential that it shows first."""

import asyncio
import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import structlog

from services.runtime.issuer import Issuer
from services.scheduler.credentials import boot_creds
from services.scheduler.environment import CREDS, TEMPORARY

log = structlog.get_logger(__name__)

# An agent can leave more than is soon removed, and deeper than Python can.
REMOVE_SECONDS = 60.0
# Log files of workers that are kept.
LOG_FILES = 50


class WorkerFiles:
    """The files of all workers in `folder`."""

    def __init__(self, folder: Path, issuer: Issuer | None) -> None:
        # An agent works elsewhere than its worker was started.
        self._folder = folder.absolute()
        self._issuer = issuer
        self._removals: set[asyncio.Task[None]] = set()

    def give(self, name: str, pool: str) -> dict[str, str]:
        """Make what is the worker's alone; return the settings by which it finds it. Raises `OSError`."""
        self._room(name).mkdir(mode=0o700)
        if self._issuer is None:
            return {TEMPORARY: str(self._room(name))}
        descriptor = os.open(self._creds(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(boot_creds(self._issuer, pool, name))
        return {TEMPORARY: str(self._room(name)), CREDS: str(self._creds(name))}

    def take_back(self, name: str) -> None:
        """Remove all but the log of a worker that is gone; its folder goes behind, since that may take a while."""
        with contextlib.suppress(OSError):  # the worker takes it away itself
            self._creds(name).unlink()
        task = asyncio.create_task(_removed(self._room(name)), name=f"folder of {name}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def removed(self, within: float) -> None:
        """Return when nothing is being removed any more, or after `within` seconds; the rest is swept the next time."""
        if self._removals:
            await asyncio.wait(self._removals, timeout=within)

    def sweep(self, living: Collection[str]) -> set[str]:
        """Take back what workers other than the `living` have left; return whose logs there are."""
        left = {file.stem for kind in ("tmp", "creds") for file in self._folder.glob(f"w-*.{kind}")}
        for name in left - set(living):
            self.take_back(name)
        return {file.stem for file in self._folder.glob("w-*.log")} - set(living)

    def log(self, name: str, living: Collection[str]) -> Path:
        """Return where the worker's output goes; of too many logs the oldest are removed, but none of the `living`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = sorted(self._folder.glob("w-*.log"), key=lambda file: file.stat().st_mtime)
        ended = [file for file in kept if file.stem not in living]
        for old in ended[: max(0, len(kept) - LOG_FILES + 1)]:
            old.unlink(missing_ok=True)
        return self._folder / f"{name}.log"

    def _room(self, name: str) -> Path:
        return self._folder / f"{name}.tmp"

    def _creds(self, name: str) -> Path:
        return self._folder / f"{name}.creds"


async def _removed(room: Path) -> None:
    """Remove `room`, which a worker may have made hard to remove; what cannot be is told in the log."""
    try:
        async with asyncio.timeout(REMOVE_SECONDS):
            # A cache may be read-only; `find` follows no link out of the folder.
            if await _ran("rm", "-rf", "--", str(room)):
                await _ran(
                    "find",
                    str(room),
                    "-type",
                    "d",
                    "!",
                    "-perm",
                    "-700",
                    "-exec",
                    "chmod",
                    "u+rwx",
                    "{}",
                    ";",
                )
                if await _ran("rm", "-rf", "--", str(room)):
                    log.warning("a worker's temporary folder could not be removed", folder=str(room))
    except TimeoutError:
        log.warning("a worker's temporary folder takes long to remove; it is swept later", folder=str(room))


async def _ran(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
