"""Workers as processes on this machine, each in a session of its own, with a log file each."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path

import structlog

from services.runtime.issuer import Issuer
from services.runtime.tether import tethered
from services.scheduler.environment import DATA, worker_environment
from services.scheduler.launcher import Exit, LaunchFailed, OwnWorkers
from services.scheduler.processes import kill_leftovers, kill_worker
from services.scheduler.worker_files import WorkerFiles

log = structlog.get_logger(__name__)

# How long an end waits for what workers have left to be removed.
REMOVAL_SECONDS = 3.0
COMMAND = (sys.executable, "-m", "services.worker")


class ProcessLauncher(OwnWorkers):
    """Launches `command` with little more environment than `extra`. Only one launcher may use a `data` folder."""

    def __init__(
        self,
        data: Path,
        extra: Mapping[str, str],
        *,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        issuer: Issuer | None = None,
    ) -> None:
        # The mark of our workers: the same relative path may mean another launcher's folder.
        self._data = data.absolute()
        self._files = WorkerFiles(self._data / "workers", issuer)
        self._extra = dict(extra) | {DATA: str(self._data)}
        self._environ = os.environ if environ is None else environ
        self._command = tuple(command)
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()

    async def recover(self) -> None:
        """Kill what an earlier run with the same data folder left behind; all of its workers are gone then."""
        leftovers = await asyncio.to_thread(kill_leftovers, str(self._data))
        if leftovers:
            log.info("leftover workers were killed", workers=sorted(leftovers))
        earlier = self._files.sweep(self._running.keys())
        for name in leftovers | earlier:
            self._exits.put_nowait(Exit(name))

    async def launch(self, pool: str) -> str:
        """Start a worker for `pool` and return its name. Raises `LaunchFailed`."""
        name = f"w-{secrets.token_hex(4)}"
        if shutil.which(self._command[0]) is None:
            raise LaunchFailed(f"a worker process could not be started: there is no {self._command[0]}")
        try:
            with self._files.log(name, self._running.keys()).open("ab") as output:
                given = self._files.give(name, pool)
                process = await asyncio.create_subprocess_exec(
                    *tethered(self._command),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=worker_environment(self._environ, self._extra | given, name, pool),
                    start_new_session=True,
                )
        except OSError as e:
            self._files.take_back(name)
            raise LaunchFailed(f"a worker process could not be started: {e}") from e
        self._running[name] = process
        self._watchers[name] = asyncio.create_task(self._watch(name, process), name=f"worker {name}")
        return name

    async def kill(self, name: str) -> bool:
        """End the worker and all that it started; False for an unknown one."""
        process, watcher = self._running.get(name), self._watchers.get(name)
        if process is None or watcher is None:
            return False
        # First by descent and mark, while parents still tell whose children there are; then the group, whoever joined it.
        await asyncio.to_thread(kill_worker, name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(watcher)
        return True

    async def retire(self, name: str) -> bool:
        """Ask the worker to hand over and leave; False for an unknown one."""
        process = self._running.get(name)
        if process is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        return True

    async def terminate_all(self, grace: float) -> None:
        """Ask all workers to leave; kill those that remain after `grace` seconds."""
        for name in list(self._running):
            await self.retire(name)
        if self._watchers:
            await asyncio.wait(self._watchers.values(), timeout=grace)
        await asyncio.gather(*map(self.kill, list(self._running)))
        await self._files.removed(REMOVAL_SECONDS)

    def workers(self) -> Collection[str]:
        """Return the names of the workers that run."""
        return self._running.keys()

    async def exited(self) -> AsyncIterator[Exit]:
        """Yield each worker that is gone, for ever."""
        while True:
            yield await self._exits.get()

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        await asyncio.to_thread(kill_worker, name)
        log.info("a worker left", worker=name, code=code)
        self._files.take_back(name)
        self._running.pop(name, None)
        self._watchers.pop(name, None)
        self._exits.put_nowait(Exit(name))
