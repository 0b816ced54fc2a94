"""The writer put together."""

import asyncio

from services.ingress.slack_api import SlackApi
from services.ingress.writer.budget import Budget
from services.ingress.writer.kit import Kit
from services.ingress.writer.leases import Leases
from services.ingress.writer.partition import Partition
from services.ingress.writer.pen import Pen
from services.ingress.writer.reader import Reader
from services.ingress.writer.samples import Samples
from services.ingress.writer.settings import WriterSettings
from services.runtime.bus import Bus
from services.runtime.files import Files

TIDY_SECONDS = 2.0


class Writer:
    """Shows sessions in their threads. `samples` tells what workers use, `ready` whether it writes."""

    def __init__(self, bus: Bus, slack: SlackApi, settings: WriterSettings) -> None:
        self.samples = Samples()
        self._bus = bus
        self._settings = settings
        self._pen = Pen(slack, Budget())
        self._kit: Kit | None = None
        self.leases = Leases(bus, settings, self._partition, self._changed)
        self._reader = Reader(bus, lambda: self.leases.partitions, self.samples)

    @property
    def ready(self) -> bool:
        """Whether Slack has told who we are."""
        return self._kit is not None

    async def run(self) -> None:
        """Write for ever; a cancelled writer stops at once."""
        identity = await self._pen.until_done("auth.test", "", "", self._pen.slack.auth_test)
        files = Files(self._bus)
        self._kit = Kit(self._pen, files, self._settings, identity.user_id)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reader.run(), name="reader")
                tasks.create_task(self.leases.run(), name="leases")
                tasks.create_task(self._tidy(), name="tidy")
        finally:
            await self.leases.close()

    async def drain(self) -> None:
        """Finish what is begun and leave the partitions to others."""
        await self.leases.release_all()

    def _partition(self, number: int, position: int) -> Partition:
        if self._kit is None:
            raise RuntimeError("a partition was taken before the writer ran")
        return Partition(number, self._bus, self._kit, position=position)

    def _changed(self) -> None:
        self._reader.changed()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            now = asyncio.get_running_loop().time()
            for partition in self.leases.partitions.values():
                partition.forget_quiet(now)
                if partition.recovered():
                    self._reader.changed()


async def wire_writer(bus: Bus, slack: SlackApi, settings: WriterSettings) -> Writer:
    """Return a writer; it takes its partitions when it runs."""
    return Writer(bus, slack, settings)
