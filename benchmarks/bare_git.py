"""What git alone takes for the workspace of a session."""

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path


async def bare_clone(address: str, where: Path | None = None) -> float:
    """Return the seconds of `git clone` and `git checkout -b` of the repository at `address` into a folder in `where`."""
    return await asyncio.to_thread(_clone, address, where)


def _clone(address: str, where: Path | None) -> float:
    # Not on the event loop, which is uvloop's: it forks, and a large process takes ten milliseconds for that.
    with tempfile.TemporaryDirectory(dir=where) as folder:
        began = time.perf_counter()
        _git("clone", "-q", "--no-checkout", address, folder)
        _git("-C", folder, "checkout", "-q", "-b", "bench")
        return time.perf_counter() - began


def _git(*arguments: str) -> None:
    environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *arguments], env=environ, stderr=subprocess.DEVNULL, check=True)
