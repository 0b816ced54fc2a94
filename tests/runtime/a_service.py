"""A service process for the lifecycle's tests: says what happens to it on standard output."""

import asyncio
import os
import sys

from services.runtime.bus import Bus
from services.runtime.health import Readiness
from services.runtime.lifecycle import ServiceSettings
from services.runtime.service import Service, main, serve_until_told
from services.runtime.settings import load


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Told:
    """Does as the variable BEHAVIOUR says; its drain ends when a line comes in."""

    async def run(self) -> None:
        say("running")
        if os.environ.get("BEHAVIOUR") == "ends":
            return
        try:
            await asyncio.Event().wait()
        finally:
            say("cancelled")

    async def drain(self) -> None:
        say("draining")
        await asyncio.to_thread(sys.stdin.readline)
        say("drained")


async def wire(bus: Bus, readiness: Readiness) -> Service:
    if os.environ.get("BEHAVIOUR") == "waits":
        say("wiring")
        await asyncio.Event().wait()
    return Told()


async def start() -> None:
    await serve_until_told("told", settings(), wire)


def settings() -> ServiceSettings:
    return load(ServiceSettings, os.environ)


if __name__ == "__main__":
    main("told", settings, start)
