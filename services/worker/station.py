"""Where the session works: its workspace and its agent, made once and kept between turns."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from schemas.events import Notice, Phases
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.work import Assignment
from services.runtime.bus import Bus
from services.runtime.tasks import cancel
from services.worker.agents.factory import AgentSettings, make_agent
from services.worker.agents.protocol import Agent, AgentError, AgentEvent, Exited, Launch, SessionTools
from services.worker.core import Waiting
from services.worker.happenings import Said as AgentSaid
from services.worker.instructions import mark, system_prompt, wishes
from services.worker.line import Line
from services.worker.opening import Opening
from services.worker.recall import Recall
from services.worker.saving import Saving
from services.worker.session_log import SessionLog
from services.worker.settings import TurnLimits, WorkerSettings
from services.worker.workspace import Workspace, WorkspaceError

log = structlog.get_logger(__name__)

Tell = Callable[[str], None]


class NotReady(Exception):
    """The workspace or the agent cannot be had; the message is one sentence for the thread."""


class Station:
    """Opens the workspace, starts the agent, and leaves nothing running. `saving` saves what is in the workspace."""

    def __init__(
        self,
        bus: Bus,
        settings: WorkerSettings,
        log: SessionLog,
        line: Line,
        *,
        saving: Saving,
        assignment: Assignment,
        opening: Opening,
    ) -> None:
        self._settings = settings
        self.instructions = assignment.instructions
        self._key: SessionKey = log.key
        self._log = log
        self._line = line
        self._opening = opening
        self._recall = Recall(bus, log, settings.agent)
        self._pump: asyncio.Task[None] | None = None
        self._starts = 0
        self._gone = False
        self._state_complete = True
        self.saving = saving
        self.workspace: Workspace | None = None
        self.agent: Agent | None = None
        self.person = Person(id="")
        self.resumed = False

    @property
    def branch(self) -> str:
        """The session's branch; before the workspace is open the one that others told, empty where nobody did."""
        return self.workspace.branch if self.workspace else self._opening.branch

    def learn_branch(self, name: str) -> None:
        """Take `name`, which the log tells, for the session's branch where the assignment has none; may be empty."""
        self._opening.branch = self._opening.branch or name

    @property
    def repo(self) -> str:
        """What the session works on, as `TurnEnd` tells it."""
        return self._opening.repo

    @property
    def work(self) -> Workspace | None:
        """The workspace, as far as there is work in it that can be saved."""
        return None if self._opening.half_done else self.workspace

    @property
    def state_complete(self) -> bool:
        """Whether everything that the agent needs to resume is stored."""
        return self.agent.state_complete if self.agent else self._state_complete

    def said(self, event: AgentEvent) -> AgentSaid:
        """Return `event` as said by the agent that runs now."""
        return AgentSaid(self._starts, event)

    def is_current(self, said: AgentSaid) -> bool:
        """Whether `said` comes from the agent that runs now."""
        return said.start == self._starts and self.agent is not None

    def news(self) -> str:
        """Return what the agent has to be told ahead of its next prompt, once: instructions that it does not know."""
        store, wanted = self._recall.store, mark(self.instructions)
        known, store.told = store.told, wanted
        return "" if known == wanted else wishes(self.instructions)

    async def begin(self) -> None:
        """Begin with what `prepare` will wait for longest; the session is claimed."""
        self._recall.begin()
        if self._log.follows:
            # Somebody may have had it before us: what came ahead of our claim may lack what they saved until then.
            await self._opening.close()
        self._opening.claimed()
        self._opening.begin()

    async def give_up(self) -> None:
        """Drop what `begin` began and no turn was prepared with: who comes next has to have it up to date."""
        await self._opening.close()
        await self._recall.close()

    async def prepare(self, opener: Waiting, limits: TurnLimits, tools: SessionTools, tell: Tell) -> Phases:
        """Make workspace and agent ready, as far as they are not; return what it took. Raises `NotReady`.

        Cancelled at any point, it does what is missing the next time.
        """
        began = time.monotonic()
        await self.saving.settled()
        if self._gone:
            await self.end_agent()
        try:
            workspace = await self._open(opener, tell)
            opened = time.monotonic()
            if self.agent is None:
                tell("is starting the agent...")
                await self._start(workspace, opener, limits, tools, tell)
        except (WorkspaceError, AgentError) as e:
            raise NotReady(str(e)) from e
        return Phases(workspace=_ms(began, opened), agent=_ms(opened, time.monotonic()))

    async def _open(self, opener: Waiting, tell: Tell) -> Workspace:
        restoring = asyncio.create_task(self._recall.restore(opener.sequence, tell), name="restore")
        try:
            if self.workspace is None:
                self.workspace = await self._opening.workspace(opener, tell)
            await self._set_up(self.workspace, opener, tell)
            await restoring
        finally:
            await cancel(restoring)
        self.saving.began(opener.said)
        return self.workspace

    async def _set_up(self, workspace: Workspace, opener: Waiting, tell: Tell) -> None:
        if problem := await self._opening.set_up(workspace, tell):
            await self._log.event(Notice(turn=opener.sequence, level="warning", text=problem))

    async def _start(
        self, workspace: Workspace, opener: Waiting, limits: TurnLimits, tools: SessionTools, tell: Tell
    ) -> None:
        try:
            await self._launch(workspace, opener, limits, tools)
        except AgentError as e:
            if not self._recall.store.conversation:
                raise
            await self._recall.begin_anew(opener.sequence, str(e), tell)
            await self._launch(workspace, opener, limits, tools)

    async def _launch(
        self, workspace: Workspace, opener: Waiting, limits: TurnLimits, tools: SessionTools
    ) -> None:
        settings, store = self._settings, self._recall.store
        agent = make_agent(settings.agent, _adapter(settings), store, tools)
        launch = Launch(
            cwd=workspace.path,
            home=self._home(),
            env=self._opening.access.environ | {"THREADMILL_WORKER": settings.worker},
            permission_mode=settings.permission_mode,
            system_prompt=system_prompt(
                self._key,
                opener.said,
                workspace.branch,
                wishes=self.instructions,
                earlier=self._recall.earlier,
            ),
            model=settings.model,
            resume=store.conversation or None,
            max_budget_usd=limits.max_budget_usd,
            spent_usd=limits.spent_usd,
        )
        store.conversation = await agent.start(launch)
        # A conversation keeps the system prompt that it began with, whatever a later start gives it.
        store.told = store.told_for_good if launch.resume else mark(self.instructions)
        self.resumed, self.person = launch.resume is not None, opener.said.user
        self.agent, self._gone = agent, False
        self._starts += 1
        self._pump = asyncio.create_task(self._listen(agent, self._starts), name="agent events")

    def _home(self) -> Path:
        home = self._settings.data / "agents" / str(self._key)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return home

    async def _listen(self, agent: Agent, start: int) -> None:
        async for event in agent.events():
            # Between turns nobody reacts to it: the next one starts another.
            self._gone = self._gone or isinstance(event, Exited)
            await self._line.offer(AgentSaid(start, event))

    async def end_agent(self) -> None:
        """End the agent and all that it started; the next turn starts it again and resumes."""
        agent, self.agent, self._gone = self.agent, None, False
        if agent is not None:
            await agent.close()
            self._state_complete = agent.state_complete
        if self._pump is not None:
            await cancel(self._pump)

    async def close(self) -> None:
        """Leave nothing running; raises nothing that has to do with the agent."""
        await self.end_agent()
        await self.saving.settled()
        await self._opening.close()
        await self._recall.close()
        if self.workspace is not None:
            self.workspace.close()


def _adapter(settings: WorkerSettings) -> AgentSettings:
    given = AgentSettings(acp_command=settings.acp_command, recording_speed=settings.recording_speed)
    return msgspec.structs.replace(given, recording=settings.recording) if settings.recording else given


def _ms(began: float, ended: float) -> int:
    return round((ended - began) * 1000)
