"""Programs that are kept running as a Deployment keeps pods: whoever dies is started again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import psutil

AGAIN_SECONDS = 0.5
TERM_SECONDS = 30.0
ROOT = Path(__file__).parents[2]


class Program:
    """One program of the version in the folder `code`; `start` runs it until `stop`, again whenever it ends."""

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        code: Path = ROOT,
    ) -> None:
        self.name = name
        self.code = code
        self.command = list(command)
        self.environ = dict(environ)
        self.log = log
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._held = asyncio.Event()
        self._held.set()

    @property
    def pid(self) -> int | None:
        """Its process, None while it does not run."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        await self._run()
        self._keeper = asyncio.create_task(self._keep(), name=self.name)

    async def _run(self) -> None:
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], **self.environ},
                cwd=self.code,
                start_new_session=True,
            )
        self.starts += 1

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            await asyncio.sleep(AGAIN_SECONDS)
            await self._held.wait()
            await self._run()

    def hold(self) -> None:
        """Leave it down, however it ends, until `release`."""
        self._held.clear()

    def release(self) -> None:
        self._held.set()

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False where nothing runs."""
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, number)
                return True
        return False

    async def stop(self) -> int | None:
        """End it for good, gently; return its exit code, None where it had to be killed."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._process is None:
            return 0
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), TERM_SECONDS)
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._process.wait()
            return None


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes whose environment or command line carries `mark`, but for this one and who began it."""
    found, ours = [], {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in ours and (
                mark in " ".join(process.cmdline()) or mark in str(process.environ())
            ):
                found.append(process)
    return found


def workers(mark: str) -> list[psutil.Process]:
    """Return the workers' own processes."""
    return [each for each in marked(mark) if _runs(each, "tests.chaos.program", "worker")]


def agents(mark: str) -> list[psutil.Process]:
    """Return the processes that workers started: agents and their tools."""
    return [child for worker in workers(mark) for child in _children(worker)]


def _runs(process: psutil.Process, *words: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return set(words) <= set(process.cmdline())
    return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


async def eventually(holds: Callable[[], Awaitable[object]], seconds: float, every: float = 0.2) -> bool:
    """Return as soon as `holds` does, False when it never did in `seconds`: processes tell nobody of their progress."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await holds():  # noqa: ASYNC110 (what is waited for happens in other processes)
                await asyncio.sleep(every)
            return True
    return False


async def listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
