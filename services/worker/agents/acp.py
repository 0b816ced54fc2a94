"""Drives any agent that speaks the Agent Client Protocol."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from uuid import uuid4

from .acp_client import WorkspaceClient
from .acp_events import INTERRUPTED, Translator, finished, merged
from .acp_session import AcpSession
from .events import EventQueue
from .protocol import AgentError, AgentEvent, Answer, Exited, Finished, Launch, Prompt, StateStore, TextBlock
from .questions import Questions
from .trim import sentence

ENTRY = "acp"
INTERRUPT_DEADLINE_S = 5.0


class AcpAgent:
    """One session of an ACP agent, started by `command`; see `protocol.Agent`.

    The protocol hands out no state: a session resumes only where the agent still finds its own files. It has no way to
    steer either: an input during a turn is answered in the same turn, after what came before it. The model and the
    budget are set in the agent's own configuration.
    """

    def __init__(self, store: StateStore, command: Sequence[str]) -> None:
        self._store = store
        self._command = command
        self._events = EventQueue()
        self._questions = Questions(self._events.put)
        self._translator = Translator()
        self._session: AcpSession | None = None
        self._prompts: set[str] = set()
        self._waiting: deque[Prompt] = deque()
        self._last_text = ""
        self._unanswered = 0
        self._turn: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.state_complete = True

    def contains(self, prompt: str) -> bool:
        """Whether the session already has the prompt of this id."""
        return prompt in self._prompts

    async def start(self, launch: Launch) -> str:
        """Start the agent, or resume its session; see `protocol.Agent.start`."""
        if self._session is None:
            kept = [entry for entry in await self._store.load("") or [] if entry.get("type") == ENTRY]
            self._prompts = {entry["prompt"] for entry in kept if entry["session"] == launch.resume}
            client = WorkspaceClient(launch, self._questions, self._updated)
            self._session = await AcpSession.start(launch, self._command, client)
            self._watcher = asyncio.create_task(self._watch(self._session), name="acp-watcher")
        return self._session.id

    async def send(self, prompt: Prompt) -> None:
        """Give the agent an input; one that comes during a turn waits for what came before it."""
        session = self._running()
        entry = {"type": ENTRY, "uuid": str(uuid4()), "session": session.id, "prompt": prompt.id}
        await self._store.append("", [entry])
        self._prompts.add(prompt.id)
        self._waiting.append(prompt)
        self._unanswered += 1
        if self._turn is None:
            self._begin_turn(session)

    def events(self) -> AsyncIterator[AgentEvent]:
        """Yield events until `close` or `Exited`."""
        return self._events.follow()

    async def answer(self, question: str, answer: Answer) -> bool:
        """Answer an open question; False when it is not open."""
        return self._questions.answer(question, answer)

    async def interrupt(self) -> None:
        """Stop the running turn with everything that it started; an agent that does not obey in 5 s is killed."""
        if self._turn is not None and self._session is not None:
            self._waiting.clear()
            self._questions.withdraw()
            await self._session.cancel()
            _, pending = await asyncio.wait({self._turn}, timeout=INTERRUPT_DEADLINE_S)
            if pending:
                await self._session.kill()

    async def close(self) -> None:
        """End the agent within 2 s and leave nothing of it."""
        session, self._session = self._session, None
        if session is not None and self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
            idle = self._turn is None
            await self._stop_turn()
            await session.close(gently=idle)
            self._events.end()

    def _begin_turn(self, session: AcpSession) -> None:
        self._turn = asyncio.create_task(self._take_turn(session), name="acp-turn")

    async def _take_turn(self, session: AcpSession) -> None:
        cost_before = self._translator.cost
        ends: list[Finished] = []
        session.begin_turn()
        while self._waiting:
            ends.append(await self._prompt(session, self._waiting.popleft()))
        if ends[-1].stop_reason == INTERRUPTED:
            await session.kill_tools()
        cost = max(0.0, self._translator.cost - cost_before)
        end = merged(ends, cost_usd=cost, answered=self._unanswered - len(self._waiting))
        self._unanswered = len(self._waiting)
        self._turn = None
        if self._waiting:
            self._begin_turn(session)
        await self._events.put(end)

    async def _prompt(self, session: AcpSession, prompt: Prompt) -> Finished:
        self._last_text = ""
        try:
            response = await session.prompt(prompt)
        except (
            Exception
        ) as e:  # whatever it is, a prompt without an end would be waited for until the deadline
            return Finished(
                ok=False, text=f"The agent could not answer: {sentence(e)}.", stop_reason="api_error"
            )
        await self._publish(self._translator.flush())
        return finished(response, self._last_text)

    async def _updated(self, update: Any) -> None:
        if self._turn is not None:  # a session that is loaded tells its past again
            await self._publish(self._translator.translate(update, time.monotonic()))

    async def _publish(self, events: Iterable[AgentEvent]) -> None:
        for event in events:
            if isinstance(event, TextBlock):
                self._last_text = event.text
            await self._events.put(event)

    def _running(self) -> AcpSession:
        if self._session is None:
            raise AgentError("The ACP agent is not running; start it first.")
        return self._session

    async def _watch(self, session: AcpSession) -> None:
        status = await session.ended()
        self._session = None
        await self._stop_turn()
        await session.close()
        await self._events.put(Exited(f"The ACP agent has ended with status {status}."))
        self._events.end()

    async def _stop_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()
            await asyncio.wait({turn})
