"""The ground of a local mode on three nodes, every stream and bucket replicated on each."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from schemas.rights import CLIENTS, LOCAL
from services.local.agent_choice import choose
from services.local.broker import Broker
from services.local.ground import DevSettings, Ground, grounded
from services.local.home import Home
from services.local.keys import made
from tests.chaos.brokers import CAMPAIGN, Nodes

NODES = 3


class _First:
    """All that local mode asks of its broker: where the first node is."""

    def __init__(self, nodes: Nodes) -> None:
        self.url = nodes.urls[0]


@contextlib.asynccontextmanager
async def on_three_nodes(settings: DevSettings) -> AsyncIterator[Ground]:
    """Stand on three nodes for the body, whose streams are on the disk wherever `settings.data` is."""
    home, choice = Home(settings.data), choose(settings.agent, settings.environ, Path.home())
    with home.occupied(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as disk:
        keys = made(home.keys, (*CLIENTS, LOCAL, CAMPAIGN))
        nodes = Nodes(Path(disk), NODES, keys)
        try:
            await nodes.start()
            first = cast("Broker", _First(nodes))
            async with grounded(settings, home, choice, keys, first, replicas=NODES) as ground:
                yield ground
        finally:
            for program in nodes.programs:
                await program.stop()
