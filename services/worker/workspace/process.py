"""One process group with a deadline: started without a shell, bounded output, killed and reaped whole."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

TERM_GRACE = 0.5  # seconds between SIGTERM, which lets git remove its lock files, and SIGKILL
DRAIN_GRACE = 0.5  # seconds to wait for output that a left-over child may still hold open


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. `code` is None when the deadline killed it; `cut` says that output was dropped."""

    code: int | None
    out: bytes
    err: bytes
    cut: bool = False


class Tail:
    """The last `limit` bytes of a stream, and its lines as they come; a carriage return ends a line, too."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None = None) -> None:
        self.data, self.cut, self._limit, self._on_line, self._rest = b"", False, limit, on_line, b""
        self._parts: list[bytes] = []
        self._size = 0

    async def drain(self, stream: asyncio.StreamReader) -> None:
        """Read to the end, or until cancelled; what was read until then is kept."""
        while block := await stream.read(65536):
            self._keep(block)
            if self._on_line is not None:
                *lines, self._rest = (self._rest + block).replace(b"\r", b"\n").split(b"\n")
                self._rest = self._rest[-4096:]
                for line in filter(None, lines):
                    self._on_line(line.decode(errors="replace"))

    def _keep(self, block: bytes) -> None:
        self._parts.append(block)
        self._size += len(block)
        if self._size > 2 * self._limit:
            self._join()

    def _join(self) -> None:
        whole = b"".join(self._parts)
        self.cut = self.cut or len(whole) > self._limit
        self._parts, self._size = [whole[-self._limit :]], min(len(whole), self._limit)

    def bytes(self) -> bytes:
        """Return what was kept."""
        self._join()
        return self._parts[0]


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    deadline: float,
    stdin: bytes = b"",
    limit: int,
    merge: bool = False,
    on_line: Callable[[str], None] | None = None,
    fds: Sequence[int] = (),
) -> Finished:
    """Run `argv` until the loop's time `deadline`, keeping the last `limit` bytes of each output.

    `on_line` hears stderr, or with `merge` both outputs as one. Cancelling kills the group, too. Raises `OSError`
    when the program cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if merge else asyncio.subprocess.PIPE,
        start_new_session=True,
        pass_fds=fds,
    )
    out, err = Tail(limit, on_line if merge else None), Tail(limit, on_line)
    pipes = [(out, process.stdout), (err, process.stderr)]
    drains = [asyncio.create_task(tail.drain(pipe)) for tail, pipe in pipes if pipe is not None]
    code: int | None = None
    try:
        async with asyncio.timeout_at(deadline):
            await _feed(process, stdin)
            code = await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            await asyncio.shield(_kill(process))
        await _finish(drains)
    return Finished(code=code, out=out.bytes(), err=err.bytes(), cut=out.cut)


async def _feed(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the whole group, politely first, and reap its leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), TERM_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _finish(drains: Sequence[asyncio.Task[None]]) -> None:
    _, late = await asyncio.wait(drains, timeout=DRAIN_GRACE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
