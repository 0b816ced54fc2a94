"""The supervisor gives a command exactly its environment, and leaves nothing of it behind, however it ends."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from services.worker.agents.process_tree import SUPERVISOR
from tests.agents.stories import eventually, sleepers_in

FAMILY = (
    "sleep 301 & setsid sleep 302 & (nohup sleep 303 >/dev/null 2>&1 &) ; env -i setsid setsid sleep 304 & "
)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "KEPT": "yes", "DROPPED": "secret"}


async def supervised(folder: Path, script: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(SUPERVISOR), "PATH,KEPT,MISSING", "/bin/sh", "-c", script),
        cwd=folder,
        env=ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def output_of(process: asyncio.subprocess.Process) -> str:
    output, _ = await asyncio.wait_for(process.communicate(b"hello\n"), 20)
    return output.decode()


async def test_the_command_gets_the_named_variables_and_its_pipes(tmp_path: Path):
    process = await supervised(tmp_path, "read line; echo $line; env; exit 7")
    lines = (await output_of(process)).splitlines()

    assert lines[0] == "hello"
    assert {line for line in lines[1:] if not line.startswith(("PWD=", "_=", "SHLVL="))} == {
        "PATH=/usr/bin:/bin",
        "KEPT=yes",
    }
    assert process.returncode == 7


async def test_what_the_command_leaves_behind_is_killed(tmp_path: Path):
    process = await supervised(tmp_path, f"{FAMILY} sleep 0.5")
    await eventually(lambda: len(sleepers_in(tmp_path)) == 5)
    await output_of(process)

    assert process.returncode == 0
    assert sleepers_in(tmp_path) == []


async def test_a_command_ended_by_a_signal_shows_it_as_a_shell_would(tmp_path: Path):
    process = await supervised(tmp_path, "kill -KILL $$")
    await output_of(process)
    assert process.returncode == 128 + signal.SIGKILL


async def test_a_missing_command_is_told(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(SUPERVISOR), "PATH", "/no/such/command"), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 127
    assert b"/no/such/command: No such file" in errors


@pytest.mark.parametrize("heed", ["", "trap '' TERM;"])
async def test_sigterm_ends_all_of_it(tmp_path: Path, heed: str):
    process = await supervised(tmp_path, f"{heed} {FAMILY} sleep 300")
    await eventually(lambda: len(sleepers_in(tmp_path)) == 5)
    begin = time.monotonic()
    process.terminate()
    await output_of(process)

    assert time.monotonic() - begin < 8
    assert process.returncode == 128 + (signal.SIGKILL if heed else signal.SIGTERM)
    assert sleepers_in(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_the_death_of_its_parent_ends_all_of_it(tmp_path: Path):
    script = f"import subprocess, sys; subprocess.run([{sys.executable!r}, '-I', {str(SUPERVISOR)!r}, 'PATH', '/bin/sh', '-c', sys.argv[1]])"
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, f"{FAMILY} sleep 300"), cwd=tmp_path, env=ENVIRONMENT
    )
    await eventually(lambda: len(sleepers_in(tmp_path)) == 5)
    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    await eventually(lambda: sleepers_in(tmp_path) == [])
