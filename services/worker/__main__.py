"""`python -m services.worker`: one worker."""

import asyncio
import gc
import os
import sys

# A cold start waits for these imports. There is no garbage in them to look for; and a worker serves no page and draws no
# table, while nats and structlog import what does so wherever they find it.
gc.disable()
for unused in ("aiohttp", "rich"):
    sys.modules[unused] = None  # type: ignore[assignment]  # Python's way to say that there is none

from services.runtime.lifecycle import main  # noqa: E402 (after what none of it may load)
from services.runtime.settings import load  # noqa: E402 (after what none of it may load)
from services.worker.app import run  # noqa: E402 (after what none of it may load)
from services.worker.settings import WorkerSettings  # noqa: E402 (after what none of it may load)

gc.enable()

if __name__ == "__main__":
    settings: list[WorkerSettings] = []

    def loaded() -> WorkerSettings:
        """Read the settings once."""
        settings.append(load(WorkerSettings, os.environ))
        return settings[0]

    # uvloop forks where asyncio's own loop uses vfork: five times the time for each git and agent process.
    main("worker", loaded, lambda: run(settings[0]), asyncio.run)
