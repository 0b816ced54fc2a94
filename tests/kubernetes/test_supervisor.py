"""A container's walls: nothing that it began outlives it, or whoever began it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.chaos.fleet import eventually
from tests.kubernetes.kubelet.process import NotStarted, Process

# Begins a child that leaves its session and its parent, and tells of both.
FAMILY = """
import os, sys, time
told, tell = os.pipe()
if not (child := os.fork()):
    os.setsid()
    if os.fork(): os._exit(0)
    print(os.getpid(), flush=True)
    os.close(tell)
    time.sleep(600)
os.close(tell)
os.waitpid(child, 0)
os.read(told, 1)
print(os.getpid(), flush=True)
"""
PARENT = """
import asyncio, pathlib, sys
from tests.kubernetes.kubelet.process import Process
async def main():
    started = await Process.start(sys.argv[1:-1], {"PATH": "/bin"}, pathlib.Path("/"), pathlib.Path(sys.argv[-1]))
    await started.wait()
asyncio.run(main())
"""


async def start(code: str, log: Path) -> Process:
    return await Process.start([sys.executable, "-c", code], {"PATH": "/bin"}, log.parent, log)


def members_of(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


async def family(log: Path) -> list[int]:
    """Return who has told of itself, once both have."""

    async def told() -> bool:
        return len(members_of(log)) == 2

    assert await eventually(told, 10, every=0.02)
    return members_of(log)


async def test_its_orphans_end_with_it(tmp_path: Path) -> None:
    process = await start(FAMILY + "sys.exit(7)", tmp_path / "log")

    assert await process.wait() == 7
    assert not any(map(psutil.pid_exists, await family(tmp_path / "log")))


async def test_it_hears_a_request_and_obeys_an_order(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    process = await start(stubborn + FAMILY + "time.sleep(600)", tmp_path / "log")
    members = await family(tmp_path / "log")

    process.terminate()

    async def answered() -> bool:
        return "no" in (tmp_path / "log").read_text()

    assert await eventually(answered, 10, every=0.02)
    assert all(map(psutil.pid_exists, members))
    process.kill()
    assert await process.wait() == 128 + signal.SIGKILL
    assert not any(map(psutil.pid_exists, members))


async def test_all_ends_with_whoever_began_it(tmp_path: Path) -> None:
    words = (sys.executable, "-c", FAMILY + "time.sleep(600)", str(tmp_path / "log"))
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, *words, cwd=Path(__file__).parents[2], env=dict(os.environ)
    )
    members = await family(tmp_path / "log")

    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not any(map(psutil.pid_exists, members))

    assert await eventually(gone, 10, every=0.02)


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match='exec: "nothing-of-that-name"'):
        await Process.start(["nothing-of-that-name"], {"PATH": "/bin"}, tmp_path, tmp_path / "log")
