"""What a turn needs of the session around it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from services.runtime.files import FileBucket
from services.worker.agents.protocol import SessionTools
from services.worker.core import SessionView
from services.worker.happenings import Happening
from services.worker.session_log import SessionLog
from services.worker.station import Station


@dataclass(kw_only=True)
class Place:
    """The session as its turns see it: `report` puts a happening into the line, `next` takes the oldest out."""

    log: SessionLog
    view: SessionView
    files: FileBucket
    worker: str
    agent_name: str
    warm: bool
    repo: str | None
    fence: Callable[[], bool]
    happenings: asyncio.Queue[Happening] = field(default_factory=asyncio.Queue)
    station: Station = field(init=False)
    tools: SessionTools = field(init=False)

    def report(self, happening: Happening) -> None:
        """Put `happening` at the end of the line."""
        self.happenings.put_nowait(happening)

    async def next(self) -> Happening:
        """Take the oldest happening, waiting for one."""
        return await self.happenings.get()
