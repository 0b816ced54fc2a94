"""`python -m services.scheduler`: a scheduler process, its workers processes on this machine."""

import os
from pathlib import Path

from services.runtime.bus import Bus
from services.runtime.errors import SettingsError
from services.runtime.health import Readiness
from services.runtime.issuer import Issuer
from services.runtime.lifecycle import ProcessSettings, Service, main, serve_until_told
from services.runtime.settings import load
from services.scheduler.app import wire
from services.scheduler.environment import shared_settings
from services.scheduler.process_launcher import ProcessLauncher
from services.scheduler.settings import SchedulerSettings


class SchedulerProcess(ProcessSettings, frozen=True, kw_only=True):
    """A scheduler process of its own, whose workers are processes on this machine and keep their files in `data`.

    `signing_key` signs their credentials; without one they connect as anybody does.
    """

    data: Path
    signing_key: Path | None = None
    scheduler: SchedulerSettings = SchedulerSettings()


def settings() -> SchedulerProcess:
    """Return the settings in the environment. Raises `SettingsError`."""
    loaded = load(SchedulerProcess, os.environ)
    if loaded.nats.creds and not loaded.signing_key:
        raise SettingsError(
            "THREADMILL_SIGNING_KEY is missing: with nats.creds workers need credentials too, and it signs them"
        )
    return loaded


async def start() -> None:
    """Run until told to stop."""
    loaded = settings()
    issuer = Issuer.read(loaded.signing_key) if loaded.signing_key else None
    launcher = ProcessLauncher(
        loaded.data, shared_settings(os.environ) | {"THREADMILL_NATS_URL": loaded.nats.url}, issuer=issuer
    )

    async def wired(bus: Bus, readiness: Readiness) -> Service:
        return await wire(bus, readiness, loaded.scheduler, launcher, issuer)

    await serve_until_told("scheduler", loaded, wired, pools=(loaded.scheduler.pool,))


if __name__ == "__main__":
    main("scheduler", settings, start)
