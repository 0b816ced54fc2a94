"""One session with an ACP agent, over its pipes."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Self, cast

from acp import PROTOCOL_VERSION, Client, connect_to_agent, image_block, text_block
from acp.schema import ClientCapabilities, FileSystemCapabilities, Implementation, PromptResponse

from .acp_client import WorkspaceClient
from .acp_process import AcpProcess
from .pictures import pictures
from .prompts import prompt_text
from .protocol import AgentError, Launch, Prompt

START_DEADLINE_S = 60.0
# The names that the agents in the field give to their modes, the fitting one first.
MODES = {
    "ask": ("default", "ask", "read-only"),
    "accept-edits": ("acceptEdits", "accept-edits", "auto-edit", "default", "ask", "read-only"),
    "sandboxed": ("bypassPermissions", "full-access", "yolo"),
}
CAPABILITIES = ClientCapabilities(fs=FileSystemCapabilities(read_text_file=True, write_text_file=True))


class AcpSession:
    """A started agent with its open session, whose id is `id`."""

    def __init__(self, process: AcpProcess, client: WorkspaceClient, instructions: str) -> None:
        self.id = ""
        self._process = process
        self._connection = connect_to_agent(cast("Client", client), process.input, process.output)
        self._instructions = instructions
        self._sees = False

    @classmethod
    async def start(cls, launch: Launch, command: Sequence[str], client: WorkspaceClient) -> Self:
        """Start the agent and open or resume the session; raises `AgentError`."""
        process = await AcpProcess.start(launch, command)
        session = cls(process, client, "" if launch.resume else launch.system_prompt)
        try:
            await session._opened(launch)
        except BaseException:  # a stop as well: nobody else knows the process yet
            await session.close()
            raise
        return session

    async def prompt(self, prompt: Prompt) -> PromptResponse:
        """Have a prompt answered; the first one of a fresh session carries the instructions. Raises `RequestError`."""
        shown = await pictures(prompt) if self._sees else ()
        texts = [text for text in (self._instructions, prompt_text(prompt)) if text]
        self._instructions = ""
        blocks = [image_block(each.data, each.media_type) for each in shown]
        return await self._connection.prompt(
            session_id=self.id, prompt=[*blocks, *(text_block(text) for text in texts)]
        )

    async def cancel(self) -> None:
        """Ask the agent to stop what it does."""
        await self._connection.cancel(session_id=self.id)

    def begin_turn(self) -> None:
        """Note that what the agent starts from now on is a tool's."""
        self._process.begin_turn()

    async def kill_tools(self) -> None:
        """Kill what was started since the turn began."""
        await self._process.kill_tools()

    async def kill(self) -> None:
        """Kill the agent."""
        await self._process.kill()

    async def ended(self) -> int:
        """Wait for the agent's end; return its exit status."""
        return await self._process.ended()

    async def close(self, *, gently: bool = False) -> None:
        """End the agent and leave nothing of it; gently lets it write down what it remembers."""
        await self._process.close(gently=gently)
        await self._connection.close()

    async def _opened(self, launch: Launch) -> None:
        """Open or resume the session while the agent lives; raises `AgentError`."""
        opening = asyncio.create_task(self._open(launch))
        ended = asyncio.create_task(self._process.ended())
        try:
            await asyncio.wait(
                {opening, ended}, timeout=START_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED
            )
            reason = opening.exception() if opening.done() else "it does not answer"
        finally:
            opening.cancel()
            ended.cancel()
        if reason is not None:
            raise AgentError(f"The ACP agent did not start: {reason}.")

    async def _open(self, launch: Launch) -> None:
        info = Implementation(name="threadmill", title="Threadmill", version=version("threadmill"))
        agent = await self._connection.initialize(PROTOCOL_VERSION, CAPABILITIES, info)
        able = agent.agent_capabilities
        self._sees = bool(able and able.prompt_capabilities and able.prompt_capabilities.image)
        where: dict[str, Any] = {"cwd": str(launch.cwd), "mcp_servers": []}
        if launch.resume is None:
            opened = await self._connection.new_session(**where)
            self.id, modes = opened.session_id, opened.modes
        elif able is None or not able.load_session:
            raise AgentError("it cannot resume a session; begin a fresh one instead")
        else:
            self.id = launch.resume
            modes = (await self._connection.load_session(**where, session_id=self.id)).modes
        if modes and (
            mode := fitting_mode(launch.permission_mode, [each.id for each in modes.available_modes])
        ):
            await self._connection.set_session_mode(mode_id=mode, session_id=self.id)


def fitting_mode(permission_mode: str, available: Sequence[str]) -> str | None:
    """Return the agent's mode in which it asks for what our policy wants asked; None leaves the agent's default."""
    return next((mode for mode in MODES[permission_mode] if mode in available), None)
