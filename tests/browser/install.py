"""Sees to it that a Chromium is here: `python -m tests.browser.install` says where, or why there is none.

Exits 0 without one too, and then the browser's tests skip; under CI, where a skip would hide them, it exits 1.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CACHES = (
    os.environ.get("PLAYWRIGHT_BROWSERS_PATH", ""),
    "~/.cache/ms-playwright",
    "~/Library/Caches/ms-playwright",
)
INSIDE = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
PATIENCE = 600  # seconds for one attempt at installing


def find() -> Path | None:
    """The first Chromium of `CHROMIUM`, the path and playwright's own folders."""
    return next((path for path in _candidates() if os.access(path, os.X_OK)), None)


def _candidates() -> Iterator[Path]:
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            yield Path(found)
    for cache in filter(None, CACHES):
        for inside in INSIDE:
            yield from sorted(Path(cache).expanduser().glob(inside), reverse=True)


def install() -> Path | None:
    """Try what this machine offers: playwright's own download, then Debian's package where we are root."""
    _quietly(sys.executable, "-m", "playwright", "install", "chromium")
    if find() is None and shutil.which("apt-get") and os.geteuid() == 0:
        _quietly("apt-get", "update")
        _quietly("apt-get", "install", "--yes", "--no-install-recommends", "chromium")
    return find()


def _quietly(*command: str) -> None:
    try:
        subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # the next way, or the sentence at the end


def main() -> int:
    """Print one line; 1 where there is no browser and CI needs one."""
    path = find() or install()
    if path:
        print(f"Browser for the page's tests: {path}")
        return 0
    print("No Chromium could be had; the page's tests skip. Put one on the path, or its path into CHROMIUM.")
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main())
