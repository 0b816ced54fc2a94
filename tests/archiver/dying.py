"""An archiver process that ends itself by SIGKILL at the nth step of one kind.

`python -m tests.archiver.dying upload|uploaded|ack|acked N`, settings from the environment as for the service.
"""

import os
import signal
import sys

from services.archiver.__main__ import settings, start
from services.archiver.store import Store
from services.runtime.pull import Delivery
from services.runtime.service import main


def die_at(kind, name, before, n):
    real = getattr(kind, name)
    seen = 0

    async def dying(*args):
        nonlocal seen
        seen += 1
        mine = seen
        if before and mine == n:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*args)
        if not before and mine == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, dying)


STEPS = {
    "upload": (Store, "create", True),
    "uploaded": (Store, "create", False),
    "ack": (Delivery, "ack", True),
    "acked": (Delivery, "ack", False),
}

if __name__ == "__main__":
    die_at(*STEPS[sys.argv[1]], int(sys.argv[2]))
    main("archiver", settings, start)
