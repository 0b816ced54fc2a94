"""Runs one call of the folder store again and again, killing it at its first line, its second, and so on.

`python -m tests.archiver.crash_points ROOT create|replace|delete` makes ROOT/<n>, prepared alike, for the kill at the
nth line, and ends with the first that was not reached. A line is one of the modules that touch the folder.
"""

import os
import signal
import sys
import time
from pathlib import Path

from services.archiver import durable, folder, versions
from services.archiver.backend import Upload

NAME = "v1/T1/C1/1-0/summary.json"
TRACED = {durable.__file__, folder.__file__, versions.__file__}


def upload(version, expected):
    return Upload(
        name=NAME,
        data=version.encode() * 1000,
        metadata={"version": version},
        content_type="application/json",
        expected=expected,
    )


def soon():
    return time.monotonic() + 10


def act(store, what):
    if what == "delete":
        store.delete(NAME, soon())
    elif what == "replace":
        store.put(upload("new", store.page(NAME, "", 1, soon())[0].generation), soon())
    else:
        store.put(upload("new", 0), soon())


def kill_at(line):
    seen = 0

    def trace(frame, event, _argument):
        nonlocal seen
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def killed(root, what, line):
    store = folder.Folder(root)
    if what != "create":
        store.put(upload("old", 0), soon())
    child = os.fork()
    if not child:
        kill_at(line)
        act(store, what)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main():
    root, what = Path(sys.argv[1]), sys.argv[2]
    line = 1
    while killed(root / str(line), what, line):
        line += 1


if __name__ == "__main__":
    main()
