"""What every thread works with."""

from dataclasses import dataclass
from typing import Protocol

from services.ingress.writer.pen import Pen
from services.ingress.writer.settings import WriterSettings


class Files(Protocol):
    """Where the agent's files are. Raises `Unavailable`."""

    async def get(self, name: str) -> bytes | None:
        """Return a file, None when it is gone."""


@dataclass(frozen=True)
class Kit:
    """What every thread works with. `bot_user` is who we are in Slack."""

    pen: Pen
    files: Files
    settings: WriterSettings
    bot_user: str
