"""`python -m services.worker`: one worker."""

import asyncio
import os

from services.worker.lean import lean

with lean():
    from services.runtime.lifecycle import main
    from services.runtime.settings import load
    from services.worker.app import run
    from services.worker.settings import WorkerSettings

if __name__ == "__main__":
    settings: list[WorkerSettings] = []

    def loaded() -> WorkerSettings:
        """Read the settings once."""
        settings.append(load(WorkerSettings, os.environ))
        return settings[0]

    # uvloop forks where asyncio's own loop uses vfork: five times the time for each git and agent process.
    main("worker", loaded, lambda: run(settings[0]), asyncio.run)
