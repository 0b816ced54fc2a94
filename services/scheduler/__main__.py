"""`python -m services.scheduler`: a scheduler process, its workers processes on this machine."""

import os
from pathlib import Path

from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.lifecycle import ProcessSettings, Service, main, serve_until_told
from services.runtime.settings import load
from services.scheduler.app import wire
from services.scheduler.environment import shared_settings
from services.scheduler.process_launcher import ProcessLauncher
from services.scheduler.settings import SchedulerSettings


class SchedulerProcess(ProcessSettings, frozen=True, kw_only=True):
    """A scheduler process of its own, whose workers are processes on this machine and keep their files in `data`."""

    data: Path
    scheduler: SchedulerSettings = SchedulerSettings()


def settings() -> SchedulerProcess:
    """Return the settings in the environment. Raises `SettingsError`."""
    return load(SchedulerProcess, os.environ)


async def start() -> None:
    """Run until told to stop."""
    loaded = settings()
    launcher = ProcessLauncher(
        loaded.data, shared_settings(os.environ) | {"THREADMILL_NATS_URL": loaded.nats.url}
    )

    async def wired(bus: Bus, readiness: Readiness) -> Service:
        return await wire(bus, readiness, loaded.scheduler, launcher)

    await serve_until_told("scheduler", loaded, wired, pools=(loaded.scheduler.pool,))


if __name__ == "__main__":
    main("scheduler", settings, start)
