"""An archiver on a bucket (`python -m benchmarks.archiver`)."""

import asyncio

import msgspec
import uvloop

from benchmarks.child import tell, told, until_ended
from services.archiver.app import wire
from services.archiver.settings import ArchiverSettings
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.health import Readiness
from services.runtime.log import configure_logging
from services.runtime.tasks import cancel


class Archive(msgspec.Struct, kw_only=True):
    """Where broker and bucket are."""

    nats_url: str
    bucket: str
    endpoint: str


async def _main(archive: Archive) -> None:
    configure_logging("archiver", form="text", level="ERROR")
    client = await open_connection(BusSettings(url=archive.nats_url), "archiver", lambda: None)
    settings = ArchiverSettings(bucket=archive.bucket, gcs_endpoint=archive.endpoint)
    service = await wire(Bus(client), Readiness({}), settings)
    running = asyncio.create_task(service.run())
    tell(True)
    await until_ended()
    await cancel(running)
    await close_connection(client)


if __name__ == "__main__":
    uvloop.run(_main(told(Archive)))
