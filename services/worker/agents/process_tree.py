"""The processes of one agent, found and killed: its supervisor, the agent, its tools, and what these left behind."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

SUPERVISOR = Path(__file__).with_name("supervisor.py")
MARKER = "THREADMILL_AGENT_TREE"
KILL_DEADLINE_S, SUPERVISOR_GRACE_S = 1.0, 0.5


class ProcessTree:
    """All processes that carry `mark` in their environment or descend from the supervisor that does.

    `is_tool` tells from a process's environment and its birth, in seconds since the epoch, whether a tool of the agent
    started it; everything that lost its parent counts as a tool's too.
    """

    def __init__(self, mark: str, is_tool: Callable[[dict[str, str], float], bool]) -> None:
        self.mark = mark
        self._is_tool = is_tool

    async def kill_all(self) -> None:
        """Kill the whole tree and wait, 2 s at most, until it is gone; the supervisor, once alone, cleans up and ends."""
        await asyncio.to_thread(_kill_until_gone, lambda: [e for e in self.members() if not _supervises(e)])
        await asyncio.to_thread(_wait_until_gone, self.members)
        await asyncio.to_thread(_kill_until_gone, self.members)

    async def kill_tools(self) -> None:
        """Kill what the agent's tools started, in this turn or before; the agent and its MCP servers live on."""
        await asyncio.to_thread(_kill_until_gone, self.tools)

    def members(self) -> list[psutil.Process]:
        """Return every living process of the tree."""
        return _with_descendants(self._marked())

    def tools(self) -> list[psutil.Process]:
        """Return every living process that a tool of the agent started."""
        supervisors = [process for process in self._marked() if _supervises(process)]
        roots: list[psutil.Process] = []
        for supervisor in supervisors:
            agent, *orphans = sorted(_children(supervisor), key=_birth) or [supervisor]
            roots += orphans
            below = _children(agent, recursive=True)
            roots += [each for each in below if self._is_tool(_environment(each), _birth(each))]
        return _with_descendants(roots)

    def _marked(self) -> list[psutil.Process]:
        return [each for each in psutil.process_iter() if _environment(each).get(MARKER) == self.mark]


def _wait_until_gone(find: Callable[[], list[psutil.Process]]) -> None:
    end = time.monotonic() + SUPERVISOR_GRACE_S
    while time.monotonic() < end and find():
        time.sleep(0.01)


def _kill_until_gone(find: Callable[[], list[psutil.Process]]) -> None:
    """Kill in rounds, since a process may fork while we look; our own children are reaped by their owner."""
    end = time.monotonic() + KILL_DEADLINE_S
    while time.monotonic() < end and (found := find()):
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)


def _with_descendants(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    found = {each for root in roots for each in (root, *_children(root, recursive=True))}
    return [each for each in found if _lives(each)]


def _children(process: psutil.Process, *, recursive: bool = False) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        yield from process.children(recursive=recursive)


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


def _supervises(process: psutil.Process) -> bool:
    try:
        return str(SUPERVISOR) in process.cmdline()
    except psutil.Error:
        return False


def _birth(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.Error:
        return float("inf")
