"""The recorded agent plays its file, says that it does, and behaves like an agent otherwise."""

import json
from pathlib import Path

import msgspec
import pytest

from services.worker.agents.protocol import (
    AgentError,
    Answer,
    Finished,
    Launch,
    Notice,
    QuestionAsked,
    TextBlock,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from services.worker.agents.recorded import RecordedAgent
from services.worker.agents.recording import DEMO
from tests.agents.stories import MemoryState, running, say, told


def recording(tmp_path: Path, *events: dict) -> Path:
    file = tmp_path / "recording.jsonl"
    file.write_text("".join(json.dumps({"event": event}) + "\n" for event in events))
    return file


FINISHED = {"type": "Finished", "ok": True, "text": "You chose {answer}.", "stop_reason": "end_turn"}


async def test_the_demo_says_that_it_is_a_recording_and_writes_a_file(state: MemoryState, launch: Launch):
    async with running(RecordedAgent(state, DEMO, speed=0), launch) as (agent, follower):
        finished = await told(agent, follower, "Build a mill")

        first = follower.all(TextBlock)[0].text
        assert "This is a recording" in first
        assert "make dev" in first
        assert "Build a mill" in (launch.cwd / "recorded-turn-1.md").read_text()
        assert "Build a mill" in finished.text
        assert "".join(delta.text for delta in follower.all(TextDelta)) == "".join(
            block.text for block in follower.all(TextBlock)
        )
        assert {each.call for each in follower.all(ToolStarted)} == {
            each.call for each in follower.all(ToolFinished)
        }


async def test_a_resumed_recording_knows_its_turn(state: MemoryState, launch: Launch):
    async with running(RecordedAgent(state, DEMO, speed=0), launch) as (agent, follower):
        conversation = await agent.start(launch)
        await told(agent, follower, "one")
        await told(agent, follower, "two")
    again = msgspec.structs.replace(launch, resume=conversation)
    async with running(RecordedAgent(state, DEMO, speed=0), again) as (agent, follower):
        assert (await agent.start(again), agent.contains("two")) == (conversation, True)
        assert (await told(agent, follower, "three")).text.startswith("Turn 3 ")


async def test_an_unknown_conversation_is_refused(state: MemoryState, launch: Launch):
    with pytest.raises(AgentError, match="not stored"):
        await RecordedAgent(state, DEMO).start(msgspec.structs.replace(launch, resume="unknown"))


async def test_an_input_during_the_turn_is_noted_and_an_interrupt_obeyed(state: MemoryState, launch: Launch):
    async with running(RecordedAgent(state, DEMO, speed=0.01), launch) as (agent, follower):
        await say(agent, "one")
        await say(agent, "two")
        assert (await follower.until(Notice)).text.startswith("Input noted")
        await agent.interrupt()
        finished = await follower.until(Finished)
        assert (finished.ok, finished.stop_reason) == (False, "interrupted")
        await agent.interrupt()


async def test_a_recorded_question_waits_for_its_answer(state: MemoryState, launch: Launch, tmp_path: Path):
    question = {"type": "QuestionAsked", "id": "q", "about": "choice", "title": "Wind or water?"}
    file = recording(tmp_path, question, FINISHED)
    async with running(RecordedAgent(state, file), launch) as (agent, follower):
        await say(agent, "choose")
        asked = await follower.until(QuestionAsked)
        assert await agent.answer(asked.id, Answer(text="Water"))
        assert (await follower.until(Finished)).text == "You chose Water."
        assert not await agent.answer(asked.id, Answer(text="Wind"))


@pytest.mark.parametrize("events", [[], [{"type": "Nonsense"}], [{"type": "Notice", "text": "never ends"}]])
async def test_a_file_that_is_no_recording_is_refused(state: MemoryState, tmp_path: Path, events: list[dict]):
    with pytest.raises(AgentError, match="recording"):
        RecordedAgent(state, recording(tmp_path, *events))


async def test_a_recording_stays_inside_of_the_workspace(state: MemoryState, launch: Launch, tmp_path: Path):
    file = recording(tmp_path, {"type": "WriteFile", "path": "../out.txt", "text": "x"}, FINISHED)
    async with running(RecordedAgent(state, file), launch) as (agent, follower):
        finished = await told(agent, follower, "go")
        assert (finished.ok, "outside of the workspace" in finished.text) == (False, True)
        assert not (tmp_path / "out.txt").exists()
