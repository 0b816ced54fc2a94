"""What a worker process has on this machine's disk: a log, a folder for what it leaves, the credential that it shows first."""

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from services.runtime.issuer import Issuer
from services.scheduler.credentials import boot_creds
from services.scheduler.environment import CREDS, TEMPORARY

# Log files of workers that are kept.
LOG_FILES = 50


class WorkerFiles:
    """The files of all workers in `folder`. All of it raises `OSError`."""

    def __init__(self, folder: Path, issuer: Issuer | None) -> None:
        # An agent works elsewhere than its worker was started.
        self._folder = folder.absolute()
        self._issuer = issuer

    def give(self, name: str, pool: str) -> dict[str, str]:
        """Make what is the worker's alone; return the settings by which it finds it."""
        self._room(name).mkdir(mode=0o700)
        if self._issuer is None:
            return {TEMPORARY: str(self._room(name))}
        descriptor = os.open(self._creds(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(boot_creds(self._issuer, pool, name))
        return {TEMPORARY: str(self._room(name)), CREDS: str(self._creds(name))}

    def take_back(self, name: str) -> None:
        """Remove all but the log of a worker that is gone."""
        shutil.rmtree(self._room(name), ignore_errors=True)
        with contextlib.suppress(OSError):  # the worker takes it away itself
            self._creds(name).unlink()

    def sweep(self, living: Collection[str]) -> set[str]:
        """Remove what workers other than the `living` have left but for their logs; return whose logs there are."""
        for left in (*self._folder.glob("w-*.tmp"), *self._folder.glob("w-*.creds")):
            if left.stem not in living:
                self.take_back(left.stem)
        return {file.stem for file in self._folder.glob("w-*.log")} - set(living)

    def log(self, name: str) -> Path:
        """Return where the worker's output goes; the oldest of too many logs are removed."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = sorted(self._folder.glob("w-*.log"), key=lambda file: file.stat().st_mtime)
        for old in kept[: max(0, len(kept) - LOG_FILES + 1)]:
            old.unlink(missing_ok=True)
        return self._folder / f"{name}.log"

    def _room(self, name: str) -> Path:
        return self._folder / f"{name}.tmp"

    def _creds(self, name: str) -> Path:
        return self._folder / f"{name}.creds"
