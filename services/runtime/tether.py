"""Runs a command that ends with its parent, however that ends: `python -I -S tether.py PARENT COMMAND...`.

The kernel of Linux does it; on other systems a parent that is killed leaves the command running.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
GONE = 125


def tethered(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command`, the path of a program and its arguments, tethered to this process.

    It has to be started by a thread that stays: the kernel takes the end of that thread for the end of the parent.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> None:
    """Become the command, unless the parent was faster to end."""
    parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(GONE)
    os.execv(command[0], command)  # noqa: S606 (an argument vector, no shell)


if __name__ == "__main__":
    main(sys.argv[1:])
