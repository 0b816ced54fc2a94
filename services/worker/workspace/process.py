"""One process group with a deadline: started without a shell, bounded output, killed and reaped whole."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

TERM_GRACE = 0.5  # seconds between SIGTERM, which lets git remove its lock files, and SIGKILL
DRAIN_GRACE = 0.5  # seconds to wait for output that a left-over child may still hold open
MAX_LINE = 4096


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. `code` is None when the deadline killed it; `cut` says that output was dropped."""

    code: int | None
    out: bytes
    err: bytes
    cut: bool


class Tail:
    """The last `limit` bytes of a stream, and its lines as they come; a carriage return ends a line, too."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None) -> None:
        self.cut = False
        self._limit, self._on_line = limit, on_line
        self._parts: list[bytes] = []
        self._size, self._line = 0, b""

    def feed(self, block: bytes) -> None:
        """Take what came."""
        self._parts.append(block)
        self._size += len(block)
        if self._size > 2 * self._limit:
            self._parts, self._size = [self.bytes()], self._limit
        if self._on_line is not None:
            *lines, rest = (self._line + block).replace(b"\r", b"\n").split(b"\n")
            self._line = rest[-MAX_LINE:]
            for line in filter(None, lines):
                self._on_line(line[-MAX_LINE:].decode(errors="replace"))

    def bytes(self) -> bytes:
        """Return what was kept."""
        whole = b"".join(self._parts)
        self.cut = self.cut or len(whole) > self._limit
        return whole[-self._limit :]


class Listener(asyncio.SubprocessProtocol):
    """Hears the process: its end is not the end of its output, which a child may hold open for longer."""

    def __init__(self, outputs: Mapping[int, Tail]) -> None:
        self.exited, self.silent = asyncio.Event(), asyncio.Event()
        self._outputs = outputs

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep the output."""
        self._outputs[fd].feed(data)

    def process_exited(self) -> None:
        """Note the exit."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that exit and all output have come."""
        self.exited.set()
        self.silent.set()


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
    out, err = Tail(limit, on_line if merge else None), Tail(limit, on_line)
    transport, listener = await asyncio.get_running_loop().subprocess_exec(
        lambda: Listener({1: out, 2: err}),
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.STDOUT if merge else asyncio.subprocess.PIPE,
        start_new_session=True,
        pass_fds=fds,
    )
    try:
        _feed(transport, stdin)
        code = await _ended(transport, listener, deadline)
    finally:
        transport.close()
    return Finished(code=code, out=out.bytes(), err=err.bytes(), cut=out.cut)


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes) -> None:
    pipe = cast("asyncio.WriteTransport | None", transport.get_pipe_transport(0))
    if pipe is not None:
        pipe.write(stdin)
        pipe.close()  # after what was written


async def _ended(transport: asyncio.SubprocessTransport, listener: Listener, deadline: float) -> int | None:
    """Return the exit status, or None after the deadline; whatever happens the group's leader is gone afterwards."""
    try:
        async with asyncio.timeout_at(deadline):
            await listener.exited.wait()
        return transport.get_returncode()
    except TimeoutError:
        return None
    finally:
        if transport.get_returncode() is None:
            await asyncio.shield(_kill(transport.get_pid(), listener.exited))
        await _within(DRAIN_GRACE, listener.silent)


async def _kill(leader: int, exited: asyncio.Event) -> None:
    """End the whole group, politely first, and wait until its leader is reaped."""
    _signal(leader, signal.SIGTERM)
    await _within(TERM_GRACE, exited)
    _signal(leader, signal.SIGKILL)
    await exited.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
