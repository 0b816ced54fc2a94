"""Lock files that a killed git left behind: waited for while anybody may hold them, removed when nobody does."""

import asyncio
import re
from pathlib import Path

MET = re.compile(r"'([^'\n]+\.lock)': File exists")
LIFE = 3.0  # seconds that a lock file may stand unchanged; after that its writer is taken for dead
POLL = 0.1


def met(stderr: str, git_dir: Path) -> Path | None:
    """Return the lock file inside `git_dir` that kept git from working; None when something else did."""
    found = MET.search(stderr)
    if found is None:
        return None
    lock = Path(found[1]).resolve()
    return lock if lock.is_relative_to(git_dir.resolve()) else None


async def outlive(lock: Path, *, deadline: float) -> bool:
    """Wait until `lock` is gone, or remove it when nobody touched it for `LIFE`; False when the deadline comes first."""
    now = asyncio.get_running_loop().time
    seen, since = _stamp(lock), now()
    while seen is not None:
        if now() >= deadline:
            return False
        if now() - since >= LIFE:
            _remove(lock)
        await asyncio.sleep(POLL)
        if (stamp := _stamp(lock)) != seen:
            seen, since = stamp, now()
    return True


def _stamp(lock: Path) -> tuple[int, int, int] | None:
    try:
        stat = lock.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _remove(lock: Path) -> None:
    lock.unlink(missing_ok=True)
