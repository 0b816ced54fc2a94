"""What the stories about agents share: a state store in memory, and following an agent's events."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from services.worker.agents.process_tree import MARKER
from services.worker.agents.protocol import Agent, AgentEvent, Entry, Finished, Launch, Prompt

DEADLINE_S = 30.0
A = TypeVar("A", bound=Agent)
E = TypeVar("E", bound=AgentEvent)


@dataclass
class MemoryState:
    """A `StateStore` in memory that can be told to fail."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    failures: int = 0
    attempts: int = 0

    async def append(self, subpath: str, entries: Sequence[Entry]) -> None:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise ConnectionError("The broker is away.")
        kept = self.entries.setdefault(subpath, [])
        known = {entry["uuid"] for entry in kept if "uuid" in entry}
        kept += (entry for entry in entries if entry.get("uuid") not in known)

    async def load(self, subpath: str) -> list[Entry] | None:
        return self.entries.get(subpath)

    async def subpaths(self) -> list[str]:
        return list(self.entries)


class Follower:
    """Follows an agent's events and remembers them all."""

    def __init__(self, agent: Agent) -> None:
        self._events = agent.events()
        self.seen: list[AgentEvent] = []

    async def until(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        """Wait for the next event of `kind` that `where` accepts."""
        async with asyncio.timeout(DEADLINE_S):
            async for event in self._events:
                self.seen.append(event)
                if isinstance(event, kind) and where(event):
                    return event
        raise AssertionError(f"The events ended without {kind.__name__}: {self.seen}")

    async def to_the_end(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            async for event in self._events:
                self.seen.append(event)

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.seen if isinstance(event, kind)]


@asynccontextmanager
async def running(agent: A, launch: Launch) -> AsyncIterator[tuple[A, Follower]]:
    """Start the agent, close it afterwards, and see that no process is left."""
    await agent.start(launch)
    try:
        yield agent, Follower(agent)
    finally:
        await agent.close()
        assert processes_in(launch) == []


async def say(agent: Agent, text: str) -> None:
    await agent.send(Prompt(id=text, text=text))


async def told(agent: Agent, follower: Follower, text: str) -> Finished:
    await say(agent, text)
    return await follower.until(Finished)


def with_environment(launch: Launch, **variables: str) -> Launch:
    return msgspec.structs.replace(launch, env={**launch.env, **variables})


def processes_in(launch: Launch) -> list[psutil.Process]:
    """Return the living processes that work in the launch's workspace or carry its agent's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.cwd() == str(launch.cwd) or MARKER in process.environ()
            if (
                inside
                and process.status() != psutil.STATUS_ZOMBIE
                and str(launch.home) in str(process.environ())
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def sleepers(launch: Launch) -> list[psutil.Process]:
    return sleepers_in(launch.cwd)


def sleepers_in(folder: Path) -> list[psutil.Process]:
    """Return the living `sleep`s that work in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "sleep" and process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - processes and files tell nobody that they changed
            await asyncio.sleep(0.02)
