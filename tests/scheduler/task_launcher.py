"""A launcher whose workers are tasks of this process with connections of their own: quick to start and to kill."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from schemas.keys import SessionKey
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict
from services.scheduler.launcher import Exit, OwnWorkers
from tests.scheduler.scripted_worker import Died, ScriptedWorker

_numbers = itertools.count(1)


class TaskLauncher(OwnWorkers):
    def __init__(self, url: str) -> None:
        self.url = url
        self.launched: list[str] = []
        self.killed: list[str] = []
        self.retired: list[str] = []
        self.marked: list[tuple[str, SessionKey]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._workers: dict[str, ScriptedWorker] = {}
        self.full = self.away = self.patient = self.deaf = False
        self._away: list[str] = []
        self.reason = ""
        self.trouble: asyncio.Queue[str] = asyncio.Queue()
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()

    async def recover(self) -> None:
        for name in self.launched:
            if name not in self._tasks:
                self._exits.put_nowait(Exit(name))

    async def launch(self, pool: str) -> str:
        name = f"w-{next(_numbers):08x}"
        self.launched.append(name)
        if self.away:
            self._away.append(name)
            return name
        self._tasks[name] = asyncio.create_task(self._run(name, pool, deaf=self.deaf))
        return name

    async def _run(self, name: str, pool: str, *, deaf: bool) -> None:
        client = await open_connection(BusSettings(url=self.url), name, lambda: None)
        worker = self._workers[name] = ScriptedWorker(Bus(client), name, pool)
        self._lives[name] = asyncio.create_task(worker.until_told() if deaf else worker.run())
        if name in self.killed:
            self._lives[name].cancel()
        await asyncio.wait([self._lives[name]])
        with contextlib.suppress(Died, Conflict, asyncio.CancelledError):
            self._lives[name].result()
        await close_connection(client)
        self._tasks.pop(name, None)
        self._exits.put_nowait(Exit(name, self.reason))

    async def kill(self, name: str) -> bool:
        task = self._tasks.get(name)
        if task is None:
            return False
        self.killed.append(name)
        if life := self._lives.get(name):
            life.cancel()
        await asyncio.wait([task])
        return True

    async def retire(self, name: str) -> bool:
        if name not in self._tasks:
            return False
        self.retired.append(name)
        if worker := self._workers.get(name):
            worker.leaving.set()
        return True

    async def terminate_all(self, grace: float) -> None:
        for name in list(self._tasks):
            await self.retire(name)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace)
        await self.abandon()

    async def abandon(self) -> None:
        for name in list(self._tasks):
            await self.kill(name)

    def workers(self) -> list[str]:
        return [*self._tasks, *self._away]

    def is_full(self) -> bool:
        return self.full

    def may_try(self) -> bool:
        return not self.full

    def is_coming(self) -> bool:
        return self.patient

    def working(self, name: str, session: SessionKey) -> None:
        self.marked.append((name, session))

    async def troubles(self) -> AsyncIterator[str]:
        while True:
            yield await self.trouble.get()

    async def exited(self) -> AsyncIterator[Exit]:
        while True:
            yield await self._exits.get()
