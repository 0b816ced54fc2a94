"""A part of a benchmark as a process of its own: told by one JSON line, answering with one, ended with its standard input."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# An answer may hold every latency of a run.
MOST_ANSWER = 16 * 2**20
END_SECONDS = 20.0


class ChildFailed(Exception):
    """A child ended before it answered; what it said is on standard error."""


class Child:
    """A running child and what it answered at its start."""

    def __init__(self, process: asyncio.subprocess.Process, answer: bytes) -> None:
        self._process = process
        self._answer = answer
        self.pid = process.pid

    def answer(self, shape: type[T]) -> T:
        """Return its answer."""
        return msgspec.json.decode(self._answer, type=shape)


@contextlib.asynccontextmanager
async def child(module: str, told: msgspec.Struct, *, within: float = 60.0) -> AsyncIterator[Child]:
    """Run `python -m MODULE` for the body. Raises `ChildFailed`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MOST_ANSWER,
        env=dict(os.environ),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(told) + b"\n")
        async with asyncio.timeout(within):
            line = await process.stdout.readline()
        if not line:
            raise ChildFailed(f"{module} ended before it answered")
        yield Child(process, line)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def told(shape: type[T]) -> T:
    """In the child: return what it is told."""
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=shape)


def tell(answer: Any) -> None:
    """In the child: answer."""
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


async def until_ended() -> None:
    """In the child: return when its parent ends it, or is gone."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), gone.set)
    await gone.wait()
    loop.remove_reader(sys.stdin.fileno())
