"""Plays a recorded event file, for demos and load tests; it says that it is a recording."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import msgspec

from .events import EventQueue
from .protocol import (
    AgentError,
    AgentEvent,
    Answer,
    Finished,
    Launch,
    Notice,
    Prompt,
    QuestionAsked,
    StateStore,
)
from .questions import Questions
from .recording import WriteFile, fill, read_recording

ENTRY = "recorded"


@dataclass
class Conversation:
    """What the recorded agent keeps of itself: its id and the prompts that it was given."""

    id: str
    prompts: list[str] = field(default_factory=list)
    turns: int = 0


class RecordedAgent:
    """Plays a recording once per turn; see `protocol.Agent`. `speed` divides its pauses, 0 leaves them out."""

    def __init__(self, store: StateStore, recording: Path, *, speed: float = 1.0) -> None:
        self._store = store
        self._steps = read_recording(recording)
        self._speed = speed
        self._events = EventQueue()
        self._questions = Questions(self._events.put)
        self._playing: asyncio.Task[None] | None = None
        self._unanswered = 0
        self._launch: Launch | None = None
        self._conversation = Conversation(id=str(uuid4()))
        self.state_complete = True

    def contains(self, prompt: str) -> bool:
        """Whether the conversation already has the prompt of this id."""
        return prompt in self._conversation.prompts

    async def start(self, launch: Launch) -> str:
        """Begin or resume the conversation; see `protocol.Agent.start`."""
        if self._launch is None:
            if launch.resume is not None:
                self._conversation = await self._restore(launch.resume)
            self._launch = launch
        return self._conversation.id

    async def send(self, prompt: Prompt) -> None:
        """Play the recording, or note the input when it plays already."""
        if self._launch is None:
            raise AgentError("The recorded agent is not running; start it first.")
        opens = self._playing is None or self._playing.done()
        await self._keep(prompt, opens=opens)
        self._unanswered += 1
        if opens:
            self._playing = asyncio.create_task(self._play(self._launch, prompt), name="recorded-turn")
        else:
            await self._events.put(Notice("Input noted; a recording cannot take it into account."))

    def events(self) -> AsyncIterator[AgentEvent]:
        """Yield events until `close`."""
        return self._events.follow()

    async def answer(self, question: str, answer: Answer) -> bool:
        """Answer an open question of the recording."""
        return self._questions.answer(question, answer)

    async def interrupt(self) -> None:
        """Stop playing."""
        if await self._stop():
            await self._finish(Finished(ok=False, text="", stop_reason="interrupted"))

    async def close(self) -> None:
        """Stop playing and end the events."""
        if self._launch is not None:
            await self._stop()
            self._launch = None
            self._events.end()

    async def _restore(self, resume: str) -> Conversation:
        entries = [entry for entry in await self._store.load("") or [] if entry.get("type") == ENTRY]
        if not entries or entries[0]["conversation"] != resume:
            raise AgentError(f"The recorded conversation {resume} is not stored; begin a fresh one instead.")
        prompts = [entry["prompt"] for entry in entries]
        return Conversation(id=resume, prompts=prompts, turns=max(entry["turn"] for entry in entries))

    async def _keep(self, prompt: Prompt, *, opens: bool) -> None:
        conversation = self._conversation
        conversation.turns += opens
        conversation.prompts.append(prompt.id)
        entry = {"type": ENTRY, "uuid": str(uuid4()), "conversation": conversation.id}
        await self._store.append("", [{**entry, "prompt": prompt.id, "turn": conversation.turns}])

    async def _play(self, launch: Launch, prompt: Prompt) -> None:
        try:
            await self._play_steps(launch, prompt)
        except (AgentError, OSError, ValueError) as e:
            await self._finish(Finished(ok=False, text=str(e), stop_reason="recording_failed"))

    async def _play_steps(self, launch: Launch, prompt: Prompt) -> None:
        values = {"turn": str(self._conversation.turns), "prompt": prompt.text, "answer": ""}
        for step in self._steps:
            if self._speed:
                await asyncio.sleep(step.after_ms / 1000 / self._speed)
            event = fill(step, values)
            if isinstance(event, WriteFile):
                _write(launch.cwd, event)
            elif isinstance(event, QuestionAsked):
                answer = await self._questions.ask(event)
                values["answer"] = answer.choice or answer.text
            elif isinstance(event, Finished):
                await self._finish(event)
            else:
                await self._events.put(event)

    async def _finish(self, finished: Finished) -> None:
        answered, self._unanswered = self._unanswered, 0
        await self._events.put(msgspec.structs.replace(finished, answered=answered))

    async def _stop(self) -> bool:
        playing, self._playing = self._playing, None
        if playing is None or playing.done():
            return False
        playing.cancel()
        await asyncio.wait({playing})
        return True


def _write(workspace: Path, file: WriteFile) -> None:
    target = (workspace / file.path).resolve()
    if not target.is_relative_to(workspace.resolve()):
        raise AgentError(f"The recording writes outside of the workspace: {file.path}.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(file.text, encoding="utf-8")
