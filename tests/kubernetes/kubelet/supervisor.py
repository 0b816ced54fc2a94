"""One container's walls: runs a command so that nothing which it began outlives it, or whoever began this.

`python -I -S supervisor.py PARENT COMMAND...`, on Linux. The command leads a session of its own. SIGTERM goes to the
command alone; SIGHUP, also what the kernel sends when the parent ends, kills everything. It exits as the command did.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GONE, NOT_STARTED = 125, 128


def supervised(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` so."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(parent: int, command: list[str]) -> int:
    """Run `command` to its end and return its exit code, 128 and the signal's number where a signal ended it."""
    signals = {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    kernel = ctypes.CDLL(None)
    kernel.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0)
    if os.getppid() != parent:
        return GONE
    try:
        # As it was given: Python adds a locale to its own environment where there is none.
        given = Path("/proc/self/environ").read_bytes().rstrip(b"\0").split(b"\0")
        environment = dict(pair.split(b"=", 1) for pair in given if b"=" in pair)
        usual = signals | {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}  # Python has its own way with these
        child = os.posix_spawn(command[0], command, environment, setsid=True, setsigmask=(), setsigdef=usual)
    except OSError as e:
        sys.stderr.write(f"{command[0]} cannot be started: {e.strerror}\n")
        return NOT_STARTED
    code = attend(child, signals)
    end_everything()
    return code


def attend(child: int, signals: set[signal.Signals]) -> int:
    """Pass signals on, and bury whoever has nobody else, until `child` ends."""
    while True:
        number = signal.sigwait(signals)
        if number == signal.SIGTERM:
            os.kill(child, number)
        elif number == signal.SIGHUP:
            return 128 + signal.SIGKILL
        for pid, code in buried():
            if pid == child:
                return code if code >= 0 else 128 - code


def buried() -> Iterator[tuple[int, int]]:
    """Yield the processes that have ended, and how."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def end_everything() -> None:
    """Kill all that descends from here: whoever's parent was killed is a child of this process then."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        os.waitid(os.P_ALL, 0, os.WEXITED)  # one at least: then those that it left are here


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
