"""Where the session works: its workspace and its agent, made once and kept between turns."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from schemas.events import Event, Notice, Phases
from schemas.inputs import Said
from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.worker.agents.factory import AgentSettings, make_agent
from services.worker.agents.protocol import Agent, AgentError, Launch, SessionTools
from services.worker.core import Waiting
from services.worker.earlier import readable_transcript
from services.worker.happenings import Happening
from services.worker.happenings import Said as AgentSaid
from services.worker.instructions import system_prompt
from services.worker.save import save
from services.worker.session_log import SessionLog
from services.worker.settings import TurnLimits, WorkerSettings, agent_environment
from services.worker.state import Conversations, LogStateStore, restore
from services.worker.workspace import Workspace, WorkspaceError, ensure_bare, open_workspace

log = structlog.get_logger(__name__)

Report = Callable[[Happening], None]
Tell = Callable[[str], None]


class NotReady(Exception):
    """The workspace or the agent cannot be had; the message is one sentence for the thread."""


class Station:
    """Opens the workspace, starts the agent, saves the work, and leaves nothing running."""

    def __init__(
        self, bus: Bus, settings: WorkerSettings, key: SessionKey, log: SessionLog, report: Report
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._key = key
        self._log = log
        self._report = report
        self._store: LogStateStore | None = None
        self._earlier = ""
        self._pump: asyncio.Task[None] | None = None
        self._starts = 0
        self.workspace: Workspace | None = None
        self.agent: Agent | None = None
        self._state_complete = True
        self.resumed = False

    @property
    def branch(self) -> str:
        """The session's branch, empty before the workspace is open."""
        return self.workspace.branch if self.workspace else ""

    @property
    def state_complete(self) -> bool:
        """Whether everything that the agent needs to resume is stored."""
        return self.agent.state_complete if self.agent else self._state_complete

    def is_current(self, said: AgentSaid) -> bool:
        """Whether `said` comes from the agent that runs now."""
        return said.start == self._starts and self.agent is not None

    async def prepare(
        self, opener: Waiting, repo: str | None, limits: TurnLimits, tools: SessionTools, tell: Tell
    ) -> Phases:
        """Make workspace and agent ready, as far as they are not; return what it took. Raises `NotReady`."""
        began = time.monotonic()
        try:
            if self.workspace is None:
                tell("is preparing the workspace...")
                self.workspace = await self._open(opener, repo, tell)
            opened = time.monotonic()
            if self.agent is None:
                tell("is starting the agent...")
                await self._start(self.workspace, opener, limits, tools)
        except (WorkspaceError, AgentError) as e:
            raise NotReady(str(e)) from e
        return Phases(workspace=_ms(began, opened), agent=_ms(opened, time.monotonic()))

    async def _open(self, opener: Waiting, repo: str | None, tell: Tell) -> Workspace:
        deadline = asyncio.get_running_loop().time() + self._settings.workspace_seconds
        restoring = asyncio.create_task(restore(self._bus, self._key))
        try:
            workspace = await open_workspace(
                path=self._settings.data / "workspaces" / str(self._key),
                url=repo or self._settings.repo or await self._own_repository(opener, deadline),
                thread=self._key.thread,
                title=opener.said.text,
                worker=self._settings.worker,
                deadline=deadline,
                progress=tell,
            )
            await self._remember(await restoring, opener)
        finally:
            restoring.cancel()
        await self._set_up(workspace, tell)
        return workspace

    async def _remember(self, restored: Conversations, opener: Waiting) -> None:
        self._store = LogStateStore(self._bus, self._log, self._settings.agent, restored)
        if restored.entries and restored.agent != self._settings.agent:
            await self._begin_anew(opener, f"Another agent ({restored.agent}) worked in this thread before.")

    async def _begin_anew(self, opener: Waiting, reason: str) -> None:
        """Say that the agent's own conversation is not resumed, and let it read what was said instead."""
        self._store = LogStateStore(self._bus, self._log, self._settings.agent, Conversations())
        self._earlier = await readable_transcript(self._bus, self._key, opener.sequence)
        told = f"{reason} The agent goes on from the thread's transcript."
        await self._log.event(Notice(turn=opener.sequence, level="warning", text=told))

    async def _own_repository(self, opener: Waiting, deadline: float) -> str:
        path = self._settings.data / "repos" / f"{self._key.team}-{opener.said.user.id}.git"
        await ensure_bare(path, deadline=deadline)
        return str(path)

    async def _set_up(self, workspace: Workspace, tell: Tell) -> None:
        deadline = asyncio.get_running_loop().time() + self._settings.setup_seconds
        result = await workspace.run_setup(agent_environment(os.environ), deadline=deadline, progress=tell)
        if result is not None and not result.ok:
            tail = f"\n```\n{result.output[-1500:]}\n```" if result.output else ""
            await self._log.event(Notice(level="warning", text=f"{result.problem}{tail}"))

    async def _start(
        self, workspace: Workspace, opener: Waiting, limits: TurnLimits, tools: SessionTools
    ) -> None:
        try:
            await self._launch(workspace, opener, limits, tools)
        except AgentError as e:
            if not (self._store and self._store.conversation):
                raise
            await self._begin_anew(opener, str(e))
            await self._launch(workspace, opener, limits, tools)

    async def _launch(
        self, workspace: Workspace, opener: Waiting, limits: TurnLimits, tools: SessionTools
    ) -> None:
        settings = self._settings
        store = self._store or LogStateStore(self._bus, self._log, settings.agent, Conversations())
        agent = make_agent(settings.agent, _adapter(settings), store, tools)
        launch = Launch(
            cwd=workspace.path,
            home=self._home(),
            env=agent_environment(os.environ) | {"THREADMILL_WORKER": settings.worker},
            permission_mode=settings.permission_mode,
            system_prompt=system_prompt(self._key, opener.said, workspace.branch, self._earlier),
            model=settings.model,
            resume=store.conversation or None,
            max_budget_usd=limits.max_budget_usd,
        )
        store.conversation = await agent.start(launch)
        self.resumed = launch.resume is not None
        self.agent = agent
        self._starts += 1
        self._pump = asyncio.create_task(self._listen(agent, self._starts), name="agent events")

    def _home(self) -> Path:
        home = self._settings.data / "agents" / str(self._key)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return home

    async def _listen(self, agent: Agent, start: int) -> None:
        async for event in agent.events():
            self._report(AgentSaid(start, event))

    async def end_agent(self) -> None:
        """End the agent and all that it started; the next turn starts it again and resumes."""
        agent, self.agent = self.agent, None
        if agent is not None:
            await agent.close()
            self._state_complete = agent.state_complete
        if self._pump is not None:
            self._pump.cancel()

    async def save(self, opener: Said, turn: int, fence: Callable[[], bool]) -> tuple[Event, ...]:
        """Commit and push; return what the thread should hear of it."""
        if self.workspace is None:
            return ()
        title = opener.text.strip().splitlines()[0][:72] if opener.text.strip() else "Work in progress"
        return await save(self.workspace, opener.user, title, turn, fence)

    async def close(self) -> None:
        """Leave nothing running."""
        agent, self.agent = self.agent, None
        if agent is not None:
            await agent.close()
        if self._pump is not None:
            self._pump.cancel()
        if self.workspace is not None:
            self.workspace.close()


def _adapter(settings: WorkerSettings) -> AgentSettings:
    given = AgentSettings(acp_command=settings.acp_command, recording_speed=settings.recording_speed)
    return msgspec.structs.replace(given, recording=settings.recording) if settings.recording else given


def _ms(began: float, ended: float) -> int:
    return round((ended - began) * 1000)
