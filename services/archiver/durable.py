"""Files that survive a crash: written whole, flushed, and only then given their name."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK_POLL = 0.01


def write_new(path: Path, data: bytes) -> None:
    """Write and flush a file that must not exist yet, readable by its owner alone."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_plain(path: Path) -> bytes:
    """Read a file, following no link."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read()


def sync_folder(path: Path) -> None:
    """Flush a folder's entries: a new name is durable only after this."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(path: Path) -> None:
    """Make a folder and those above it that are missing, open to their owner alone."""
    if path.is_dir():
        return
    make_folders(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_folder(path.parent)


def remove_empty(path: Path, root: Path) -> None:
    """Remove a folder and those above it, below `root`, as far as they are empty or gone already."""
    while path != root:
        try:
            path.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        path = path.parent


@contextmanager
def locked(path: Path, until: float, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock that dies with its process. Raises `TimeoutError` when it is not free by `until` (monotonic)."""
    make_folders(path.parent)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait_for_lock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, until)
        yield
    finally:
        os.close(fd)


def _wait_for_lock(fd: int, kind: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError as e:
            if time.monotonic() >= until:
                raise TimeoutError("another process holds the folder's lock") from e
            time.sleep(_LOCK_POLL)
        else:
            return
