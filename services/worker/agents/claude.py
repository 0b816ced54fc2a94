"""Drives the real Claude Code through its SDK."""

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID, uuid4

import msgspec
from claude_agent_sdk import CanUseToolShadowedWarning, Message

from .claude_events import Translator
from .claude_options import build_options, config_dir
from .claude_process import ClaudeProcess
from .claude_questions import Gate
from .claude_tools import session_server
from .claude_turns import Turn, fresh_uuid, prompt_uuid, takes_a_prompt, user_message
from .events import EventQueue
from .pictures import pictures
from .protocol import (
    AgentError,
    AgentEvent,
    Answer,
    Exited,
    Finished,
    Launch,
    Prompt,
    SessionTools,
    StateStore,
)
from .questions import Questions
from .session_store import ConversationEntries, lay_out
from .trim import sentence

STATE_DEADLINE_S = 60.0  # the SDK's own limit for one append
CLOSING_STATE_DEADLINE_S = 0.5


class ClaudeAgent:
    """One conversation with Claude Code, of one `start`; see `protocol.Agent`."""

    def __init__(self, store: StateStore, tools: SessionTools | None = None) -> None:
        self._store = store
        self._tools = tools
        self._events = EventQueue()
        self._questions = Questions(self._events.put)
        self._sending = asyncio.Lock()
        self._calm = asyncio.Event()
        self._calm.set()
        self._turn = Turn()
        self._known: frozenset[str] = frozenset()
        self._launch: Launch | None = None
        self._process: ClaudeProcess | None = None
        self._reader: asyncio.Task[None] | None = None
        self._entries: ConversationEntries | None = None

    @property
    def state_complete(self) -> bool:
        """Whether everything that a resume needs was stored."""
        return self._entries is None or self._entries.complete

    def contains(self, prompt: str) -> bool:
        """Whether the conversation already has the prompt of this id."""
        return prompt_uuid(prompt) in self._known

    async def start(self, launch: Launch) -> str:
        """Start or resume Claude Code; see `protocol.Agent.start`."""
        if self._launch is not None and self._launch.resume is not None:
            return self._launch.resume
        launch.home.mkdir(parents=True, exist_ok=True)
        conversation = await self._restore(launch) if launch.resume else str(uuid4())
        self._entries = ConversationEntries(self._store, conversation)
        await self._run(launch, conversation, self._entries)
        self._launch = msgspec.structs.replace(launch, resume=conversation, spent_usd=0.0)
        return conversation

    async def send(self, prompt: Prompt) -> None:
        """Give Claude Code an input; one sent during an interruption waits for its end."""
        shown = await pictures(prompt)
        async with self._sending:
            await self._calm.wait()
            await self._renew_budget()
            process = self._running()
            uuid = fresh_uuid(prompt.id, self._known)
            self._known |= {uuid}
            self._turn.sent(uuid)
            await process.say(user_message(prompt, shown, uuid))

    def events(self) -> AsyncIterator[AgentEvent]:
        """Yield events until `close` or `Exited`."""
        return self._events.follow()

    async def answer(self, question: str, answer: Answer) -> bool:
        """Answer an open question; False when it is not open."""
        return self._questions.answer(question, answer)

    async def interrupt(self) -> None:
        """Stop the running turn with everything that its tools started; does nothing between turns."""
        if self._process is not None and self._turn.running:
            self._calm.clear()
            self._turn.interrupt()
            await self._process.interrupt()

    async def close(self) -> None:
        """End Claude Code within 2 s and leave nothing of it."""
        process, self._process = self._process, None
        if process is None or self._entries is None:
            return
        with contextlib.suppress(Exception):  # what could not be stored shows in `state_complete`
            async with asyncio.timeout(CLOSING_STATE_DEADLINE_S):
                await self._entries.flush()
        self._entries.stop()
        await self._stop(process)
        self._calm.set()
        self._events.end()

    async def _restore(self, launch: Launch) -> str:
        with contextlib.suppress(ValueError):
            conversation = str(UUID(launch.resume))
            folder = config_dir(launch)
            self._known = await lay_out(self._store, conversation, config_dir=folder, cwd=launch.cwd)
            if self._known:
                return conversation
        raise AgentError(
            f"The agent's conversation {launch.resume} is not stored; begin a fresh one instead."
        )

    async def _run(self, launch: Launch, conversation: str, entries: ConversationEntries) -> None:
        if launch.permission_mode == "sandboxed":
            # The callback still gets choices and plans; the SDK warns that it gets nothing else.
            warnings.simplefilter("ignore", CanUseToolShadowedWarning)
        build = partial(
            build_options,
            launch,
            conversation=conversation,
            gate=Gate(self._questions, launch.cwd),
            server=session_server(self._questions, self._tools),
            entries=entries,
        )
        process = ClaudeProcess(build)
        await process.start()
        self._turn = Turn()
        self._process = process
        self._reader = asyncio.create_task(self._read(process, Translator(launch.cwd)), name="claude-reader")

    async def _stop(self, process: ClaudeProcess) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        await process.close(gently=not self._turn.running)

    async def _renew_budget(self) -> None:
        """Give the turn a budget of its own: Claude Code counts one for the life of its process."""
        launch = self._launch
        if launch is None or launch.resume is None or launch.max_budget_usd is None or self._entries is None:
            return
        if self._turn.ended and not self._turn.running:
            await self._stop(self._running())
            await self._run(launch, launch.resume, self._entries)

    def _running(self) -> ClaudeProcess:
        if self._process is None:
            raise AgentError("Claude Code is not running; start it first.")
        return self._process

    async def _read(self, process: ClaudeProcess, translator: Translator) -> None:
        reason = "Claude Code has ended."
        try:
            async for message in process.messages():
                await self._take(process, translator, message)
        except Exception as e:  # whatever ends the reading ends the agent, and is told
            reason = f"Claude Code has ended: {sentence(e)}."
        await process.close(gently=False)
        if finished := self._turn.finish():
            await self._finish(process, finished)
        await self._events.put(Exited(reason))
        self._process = None
        self._calm.set()
        self._events.end()

    async def _take(self, process: ClaudeProcess, translator: Translator, message: Message) -> None:
        for event in translator.translate(message, time.monotonic()):
            await self._events.put(event)
        finished = self._turn.received(message)
        if finished is not None:
            await self._finish(process, finished)
        elif self._turn.interrupted and takes_a_prompt(message):
            await process.interrupt()  # it was queued before the interruption, which stops it as well

    async def _finish(self, process: ClaudeProcess, finished: Finished) -> None:
        """Tell the turn's end once its state is stored, or is known to be incomplete."""
        if not self._calm.is_set():
            await process.kill_tools()
        if self._entries is not None:
            with contextlib.suppress(Exception):  # whatever the store raises, `state_complete` tells it
                async with asyncio.timeout(STATE_DEADLINE_S):
                    await self._entries.flush()
        await self._events.put(finished)
        self._calm.set()
