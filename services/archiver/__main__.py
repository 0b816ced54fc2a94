"""`python -m services.archiver`: the service alone, settings from the environment."""

import os

from services.archiver.app import wire
from services.archiver.settings import ArchiverSettings, load_settings
from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.service import Service, main, serve_until_told


def settings() -> ArchiverSettings:
    """Return the settings of this process. Raises `SettingsError`."""
    return load_settings(os.environ)


async def start() -> None:
    """Serve until told to stop."""
    loaded = settings()

    async def wired(bus: Bus, readiness: Readiness) -> Service:
        return await wire(bus, readiness, loaded)

    await serve_until_told("archiver", loaded, wired)


if __name__ == "__main__":
    main("archiver", settings, start)
