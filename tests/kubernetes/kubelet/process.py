"""One container's process, and what is left in its log."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.kubernetes.kubelet.supervisor import supervised

# Of what Kubernetes keeps of a container's last words.
WORDS_BYTES, WORDS_LINES = 2048, 80
# What the supervisor dies of when it is told to end before it has begun.
BEFORE_IT_BEGAN = {-signal.SIGTERM: 128 + signal.SIGTERM, -signal.SIGHUP: 128 + signal.SIGKILL}


class NotStarted(Exception):
    """There is no such program."""


class Process:
    """A command that runs; all that it begins ends with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, command: Sequence[str], environ: Mapping[str, str], cwd: Path, log: Path
    ) -> "Process":
        """Start it with `environ` and nothing else. Raises `NotStarted`."""
        program = shutil.which(command[0], path=environ["PATH"])
        if program is None:
            raise NotStarted(f'exec: "{command[0]}": executable file not found in $PATH')
        with log.open("ab") as output:
            starting = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *supervised([program, *command[1:]]),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environ,
                    cwd=cwd,
                    start_new_session=True,
                )
            )
            try:
                return cls(await asyncio.shield(starting))
            except asyncio.CancelledError:
                await cls(await starting).end()
                raise

    async def wait(self) -> int:
        """Return its exit code once it has ended; whoever cancels this kills it."""
        try:
            code = await self._process.wait()
        finally:
            await self.end()
        return BEFORE_IT_BEGAN.get(code, code)

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it began."""
        self._send(signal.SIGHUP)

    def freeze(self) -> None:
        """Stop it and all that it began: no signal but the one that kills reaches them."""
        for each in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()

    async def end(self) -> None:
        """Kill it, and return when it has ended."""
        self.kill()
        await asyncio.shield(self._process.wait())

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def last_words(log: Path) -> str:
    """Return the end of a container's log, as much as its status keeps."""
    with contextlib.suppress(FileNotFoundError):
        text = log.read_bytes()[-WORDS_BYTES:].decode(errors="replace")
        return "".join(text.splitlines(keepends=True)[-WORDS_LINES:])
    return ""
