"""An agent runs as the user of its worker: what it finds of it in `/proc` is no secret."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="`/proc` is Linux's")

ROOT = Path(__file__).parents[2]
# The other one descends from it as an agent does; it executes nothing, so that it needs no right to read programs.
PROGRAM = """
import ctypes, os, sys
from services.worker.sealing import PR_SET_DUMPABLE, seal
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a program that is executed begins
worker = os.getpid()

def found(*names):
    read, write = os.pipe()
    if not os.fork():
        # An agent was executed, and begins anew.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        for name in names:
            try:
                with open(f"/proc/{worker}/{name}", "rb"): os.write(write, f"{name} ".encode())
            except PermissionError: pass
        os._exit(0)
    os.wait(), os.close(write)
    return os.read(read, 1000).decode().split()

NAMES = "environ", "maps", "fd/0", "status"
print(found(*NAMES))
seal()
print(found("mem", *NAMES))
"""


def test_what_an_agent_can_read_of_its_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    before, after = done.stdout.splitlines()
    assert "environ" in before, done.stderr
    assert after == "['status']"
