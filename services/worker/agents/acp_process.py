"""The process of an ACP agent, with exactly the environment that it was given."""

import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Self
from uuid import uuid4

from .process_tree import MARKER, SUPERVISOR, ProcessTree
from .protocol import AgentError, Launch

GRACE_S = 1.5
LARGEST_MESSAGE_BYTES = 64 * 1024**2


class AcpProcess:
    """A running ACP agent; `input` and `output` are its pipes."""

    def __init__(self, process: asyncio.subprocess.Process, mark: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.input, self.output = process.stdin, process.stdout
        self._process = process
        self._turn_began = time.time()
        self._tree = ProcessTree(mark, is_tool=lambda _, birth: birth > self._turn_began)

    @classmethod
    async def start(cls, launch: Launch, command: Sequence[str]) -> Self:
        """Start it in the workspace; raises `AgentError` when its command does not exist."""
        launch.home.mkdir(parents=True, exist_ok=True)
        mark = uuid4().hex
        environment = {"HOME": str(launch.home), **launch.env, MARKER: mark}
        program = shutil.which(command[0], path=environment.get("PATH")) if command else None
        if program is None:
            raise AgentError(
                f"The ACP agent's command does not exist: {' '.join(command) or '(none is set)'}."
            )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", str(SUPERVISOR), ",".join(environment), program, *command[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # agents chat there without end
            cwd=launch.cwd,
            env=environment,
            limit=LARGEST_MESSAGE_BYTES,
        )
        return cls(process, mark)

    def begin_turn(self) -> None:
        """Note that what starts from now on is a tool's."""
        self._turn_began = time.time()

    async def ended(self) -> int:
        """Wait for its end; return its exit status."""
        return await self._process.wait()

    async def kill_tools(self) -> None:
        """Kill what was started since the turn began."""
        await self._tree.kill_tools()

    async def kill(self) -> None:
        """Kill all of it."""
        await self._tree.kill_all()

    async def close(self, *, gently: bool) -> None:
        """Leave nothing of it; gently lets it write its files and end by itself, 1.5 s at most."""
        self.input.close()
        ending = asyncio.create_task(self._process.wait())
        await asyncio.wait({ending}, timeout=GRACE_S if gently else 0)
        await self._tree.kill_all()
        await ending
