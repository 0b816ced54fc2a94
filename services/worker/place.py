"""What a turn needs of the session around it."""

from dataclasses import dataclass

from services.runtime.files import Files
from services.worker.agents.protocol import SessionTools
from services.worker.clock import Clock
from services.worker.core import SessionView
from services.worker.line import Line
from services.worker.session_log import SessionLog
from services.worker.station import Station


@dataclass(frozen=True)
class Running:
    """The turn that runs, and its times."""

    turn: int
    clock: Clock


@dataclass(kw_only=True)
class Place:
    """The session as its turns see it."""

    log: SessionLog
    view: SessionView
    files: Files
    worker: str
    agent_name: str
    warm: bool
    line: Line
    station: Station
    tools: SessionTools
    running: Running | None = None
