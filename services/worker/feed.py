"""Giving the agent what people say: in order, with its files, beside the turn, so that a stop never waits for it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from schemas.events import Event, Notice
from schemas.inputs import Said
from services.runtime.tasks import cancel
from services.worker.agents.protocol import AgentError, Attachment, Exited, Prompt
from services.worker.attachments import fetch
from services.worker.core import prompt_text
from services.worker.lease import LeaseLost
from services.worker.place import Place

log = structlog.get_logger(__name__)

Write = Callable[[Event], Awaitable[None]]


class Feed:
    """The prompts of one turn on their way to the agent, and how many of them it owes an answer."""

    def __init__(self, place: Place, write: Write) -> None:
        self._place = place
        self._write = write
        self._queue: asyncio.Queue[Said | Prompt] = asyncio.Queue()
        self._waiting = 0
        self._owed = 0
        self._giving: asyncio.Task[None] | None = None

    @property
    def open(self) -> int:
        """How many prompts are not answered yet."""
        return self._waiting + self._owed

    def put(self, prompt: Said | Prompt) -> None:
        """Let the agent have `prompt` after those before it."""
        self._waiting += 1
        self._queue.put_nowait(prompt)
        if self._giving is None:
            self._giving = asyncio.create_task(self._give_all(), name="feed")

    def answered(self, prompts: int) -> None:
        """Note that the agent answered so many."""
        self._owed = max(0, self._owed - prompts)

    async def stop(self) -> None:
        """Give the agent nothing more."""
        giving, self._giving = self._giving, None
        if giving is not None:
            await cancel(giving)
        self._waiting, self._queue = 0, asyncio.Queue()

    async def reset(self) -> None:
        """Begin anew, with an agent that got nothing so far."""
        await self.stop()
        self._owed = 0

    async def _give_all(self) -> None:
        try:
            while True:
                given = await self._queue.get()
                await self._give(await self._prompt(given) if isinstance(given, Said) else given)
        except LeaseLost:
            return  # whoever holds the pen told the session
        except AgentError as e:
            self._place.line.report(self._place.station.said(Exited(str(e))))
        except Exception:  # whatever it is, an agent that was told nothing would be waited for in vain
            log.exception("nothing can be given to the agent", session=str(self._place.log.key))
            self._place.line.report(self._place.station.said(Exited("The agent could not be reached.")))

    async def _prompt(self, said: Said) -> Prompt:
        workspace, attachments = self._place.station.workspace, tuple[Attachment, ...]()
        if workspace and said.files:
            attachments, problems = await fetch(self._place.files, workspace, said.files)
            for problem in problems:
                await self._write(Notice(level="warning", text=problem))
        parts = (self._place.station.news(), prompt_text(said, self._place.station.person))
        return Prompt(id=said.id, text="\n\n".join(filter(None, parts)), attachments=attachments)

    async def _give(self, prompt: Prompt) -> None:
        agent = self._place.station.agent
        if agent is None:
            raise AgentError("The agent is gone.")
        self._waiting -= 1
        self._owed += 1
        await agent.send(prompt)
