"""One process of Claude Code: started, spoken to, interrupted, ended without a trace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError, Message

from .process_tree import ProcessTree
from .protocol import AgentError

START_DEADLINE_S, INTERRUPT_DEADLINE_S, GRACE_S = 60.0, 5.0, 0.8


class ClaudeProcess:
    """A running Claude Code. `build` gets the mark that its process tree carries and returns the SDK's options."""

    def __init__(self, build: Callable[[str], ClaudeAgentOptions]) -> None:
        self._tree = ProcessTree(
            uuid4().hex, is_tool=lambda environment, _: "CLAUDE_CODE_CHILD_SESSION" in environment
        )
        self._client = ClaudeSDKClient(build(self._tree.mark))

    async def start(self) -> None:
        """Start it and wait until it is ready; raises `AgentError`."""
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._client.connect()
        except Exception as e:
            await self._tree.kill_all()
            raise AgentError(f"Claude Code did not start: {e}") from e

    def messages(self) -> AsyncIterator[Message]:
        """Yield what it says until it ends; raises what the SDK raises when that was not asked for."""
        return self._client.receive_messages()

    async def say(self, message: dict[str, Any]) -> None:
        """Give it a user message; raises `AgentError` when it is gone."""

        async def stream() -> AsyncIterator[dict[str, Any]]:
            yield message

        try:
            await self._client.query(stream())
        except ClaudeSDKError as e:
            raise AgentError("Claude Code has ended.") from e

    async def interrupt(self) -> None:
        """Tell it to stop what it does and kill what its tools started; kill it when it does not listen."""
        try:
            async with asyncio.timeout(INTERRUPT_DEADLINE_S):
                await asyncio.gather(self._client.interrupt(), self._tree.kill_tools())
        except Exception:  # the SDK raises bare ones; whatever it is, the agent has to stop
            await self._tree.kill_all()

    async def kill_tools(self) -> None:
        """Kill what its tools started."""
        await self._tree.kill_tools()

    async def close(self, *, gently: bool) -> None:
        """End it: `gently` lets it end by itself first, 0.8 s at most."""
        ending = asyncio.create_task(self._client.disconnect(), name="claude-disconnect")
        await asyncio.wait({ending}, timeout=GRACE_S if gently else 0)
        await self._tree.kill_all()
        with contextlib.suppress(Exception):  # it may have died at any moment before
            await ending
