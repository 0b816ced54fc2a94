"""A scheduler whose workers nobody starts (`python -m benchmarks.scheduler`)."""

import asyncio
from collections.abc import AsyncIterator, Collection

import msgspec
import uvloop

from benchmarks.child import tell, told, until_ended
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.health import Readiness
from services.runtime.log import configure_logging
from services.runtime.tasks import cancel
from services.scheduler.app import wire
from services.scheduler.launcher import Exit, OwnWorkers
from services.scheduler.settings import SchedulerSettings

MANY = 100_000


class Schedule(msgspec.Struct, kw_only=True):
    """Where the broker is."""

    nats_url: str


class Nobody(OwnWorkers):
    """Launches nothing: what is measured has its holders already."""

    def __init__(self) -> None:
        self._names: list[str] = []

    async def recover(self) -> None:
        """Nothing was left behind."""

    async def launch(self, pool: str) -> str:
        """Return a name that no process has."""
        self._names.append(f"w-{pool}-{len(self._names)}")
        return self._names[-1]

    async def kill(self, name: str) -> bool:
        """There is none."""
        return False

    async def retire(self, name: str) -> bool:
        """There is none."""
        return False

    async def terminate_all(self, grace: float) -> None:
        """There are none."""

    def workers(self) -> Collection[str]:
        """Return what is meant to run."""
        return self._names

    async def exited(self) -> AsyncIterator[Exit]:
        """Yield none, for ever."""
        await asyncio.Event().wait()
        yield Exit("")


async def _main(schedule: Schedule) -> None:
    configure_logging("scheduler", form="text", level="ERROR")
    client = await open_connection(BusSettings(url=schedule.nats_url), "scheduler", lambda: None)
    readiness = Readiness({})
    service = await wire(Bus(client), readiness, SchedulerSettings(max_workers=MANY, warm=0), Nobody())
    running = asyncio.create_task(service.run())
    while readiness.failing():  # noqa: ASYNC110 (readiness is looked at, as a probe does)
        await asyncio.sleep(0.05)
    tell(True)
    await until_ended()
    await cancel(running)
    await close_connection(client)


if __name__ == "__main__":
    uvloop.run(_main(told(Schedule)))
