"""Keeping the worker's memory from the agent beside it, which runs as the same user."""

import ctypes
import sys

PR_SET_DUMPABLE = 4


def seal() -> None:
    """Let no other process of this user read this one's memory, files or environment, nor a core dump keep them.

    What it starts is not sealed: a program that is executed begins anew. Without effect on other systems than Linux.
    Raises `OSError`.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the process cannot be sealed")
