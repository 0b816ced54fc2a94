"""`python -m services.ingress`: the service alone, settings from the environment."""

import os

from services.ingress.app import wire
from services.ingress.settings import IngressSettings, load_settings
from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.service import Service, main, serve_until_told


def settings() -> IngressSettings:
    """Return the settings of this process. Raises `SettingsError`."""
    return load_settings(os.environ)


async def start() -> None:
    """Serve until told to stop."""
    loaded = settings()

    async def wired(bus: Bus, readiness: Readiness) -> Service:
        return await wire(bus, readiness, loaded)

    await serve_until_told("ingress", loaded, wired)


if __name__ == "__main__":
    main("ingress", settings, start)
