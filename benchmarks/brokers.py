"""One broker or a cluster of three, each write on disk before it is acknowledged."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.topology import apply_map
from tests.chaos.brokers import Nodes


class Brokers:
    """Running nodes; `url` is the first one's, `bus` a connection to it, the map applied with a replica on each node."""

    def __init__(self, nodes: Nodes, bus: Bus) -> None:
        self.url = nodes.urls[0]
        self.bus = bus
        self.replicas = nodes.replicas
        self._nodes = nodes

    def processes(self) -> list[psutil.Process]:
        """Return the nodes' processes."""
        return [psutil.Process(program.pid) for program in self._nodes.programs]


@contextlib.asynccontextmanager
async def brokers(nodes: int) -> AsyncIterator[Brokers]:
    """Run `nodes` of them for the body."""
    with tempfile.TemporaryDirectory() as folder:
        running = Nodes(Path(folder), nodes)
        try:
            await running.start()
            client = await open_connection(BusSettings(url=running.urls[0]), "bench", lambda: None)
            bus = Bus(client, replicas=nodes)
            await apply_map(bus, pools=("default",))
            yield Brokers(running, bus)
            await close_connection(client)
        finally:
            for program in running.programs:
                await program.stop()
