"""Finding and killing what a worker process started, by the mark in its environment and by descent."""

import contextlib
import time
from collections.abc import Callable

import psutil

from services.scheduler.environment import DATA, WORKER

KILL_SECONDS = 3.0


def kill_worker(name: str) -> None:
    """Kill every process of the worker `name`, and what descends from one, until none is left."""
    _kill_until_gone(
        lambda: [each for each in psutil.process_iter() if _environment(each).get(WORKER) == name]
    )


def kill_leftovers(data: str) -> set[str]:
    """Kill the workers that keep their files in `data`; return their names."""
    names: set[str] = set()

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            environment = _environment(process)
            if environment.get(DATA) == data and WORKER in environment:
                names.add(environment[WORKER])
                found.append(process)
        return found

    _kill_until_gone(left)
    return names


def _kill_until_gone(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill in rounds, since a process may fork while we look."""
    end = time.monotonic() + KILL_SECONDS
    while time.monotonic() < end and (roots := [each for each in find() if _lives(each)]):
        for process in _with_descendants(roots):
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.005)


def _with_descendants(roots: list[psutil.Process]) -> set[psutil.Process]:
    found = set(roots)
    for root in roots:
        with contextlib.suppress(psutil.Error):
            found |= set(root.children(recursive=True))
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except (psutil.Error, OSError):
        return {}
