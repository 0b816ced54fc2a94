"""The agent's parent process: gives it exactly its environment, and leaves nothing of it behind.

Run as `python -I supervisor.py NAMES COMMAND...`, where NAMES are the variables that COMMAND keeps, joined by commas.
It leads a session of its own, adopts every process that the agent orphans (so `setsid` and `nohup` do not get away), ends
when its own parent dies, and exits as COMMAND exits once all of it is gone. SIGTERM and SIGINT are handed on, and
followed by SIGKILL after 3 s.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
HEED_DEADLINE_S, KILL_DEADLINE_S = 3, 2.0


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status; 128 plus the signal's number when a signal ended it."""
    names, *command = arguments
    environment = {name: os.environ[name] for name in names.split(",") if name in os.environ}
    parent = os.getppid()
    _control_process(PR_SET_CHILD_SUBREAPER, 1)
    _control_process(PR_SET_PDEATHSIG, signal.SIGTERM)
    agent = _spawn(command, environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: _end(agent, received))
    signal.signal(signal.SIGALRM, lambda *_: _send(agent, signal.SIGKILL))
    if os.getppid() != parent:  # it died before we could ask to be told
        _end(agent, signal.SIGTERM)
    _close_streams()
    status = _reap_until(agent)
    _kill_the_rest()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _control_process(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _spawn(command: list[str], environment: Mapping[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _control_process(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execve(command[0], command, environment)  # noqa: S606 - an argument vector, no shell
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - the one way to tell before exec
    finally:
        os._exit(127)


def _end(agent: int, number: int) -> None:
    """Hand a signal on; an agent that does not heed it is killed."""
    _send(agent, number)
    signal.alarm(HEED_DEADLINE_S)


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _close_streams() -> None:
    """Let go of the pipes, so that their end of file is the agent's alone to give."""
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for descriptor in (0, 1):
            os.dup2(nothing.fileno(), descriptor)


def _reap_until(agent: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == agent:
            return status


def _kill_the_rest() -> None:
    """Kill until no child is left; each round finds what the last one orphaned to us."""
    end = time.monotonic() + KILL_DEADLINE_S
    while time.monotonic() < end:
        for process in psutil.Process().children(recursive=True):
            _send(process.pid, signal.SIGKILL)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        time.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
