"""What an agent remembers on a new worker: its own conversation that goes on, and nothing of one that was abandoned."""

import asyncio

import msgspec

from schemas.events import Event, TurnStarted
from schemas.state import StateAppended
from services.runtime.bus import Draft
from services.worker.state import restore
from tests.messages_api import MessagesApi, human_texts
from tests.worker.conftest import Thread


async def told(thread: Thread, text: str, agent: str = "claude") -> None:
    """Have `agent` answer on a worker of its own, which then leaves."""
    thread.settings = msgspec.structs.replace(thread.settings, agent=agent, idle_seconds=0.1)
    thread.start_worker()
    turn = await thread.say(text)
    await thread.assign(turn)
    assert (await thread.end_of(turn)).outcome == "completed"
    assert thread.worker is not None
    await asyncio.wait_for(thread.worker, 20)


def resumed(events: list[Event]) -> list[bool]:
    return [event.resumed for event in events if isinstance(event, TurnStarted)]


async def test_an_agent_that_comes_back_after_another_one_keeps_its_new_conversation(
    thread: Thread, model: MessagesApi
) -> None:
    for agent in ("recorded", "claude", "recorded", "recorded"):
        await told(thread, "hello", agent)
    assert resumed(await thread.events()) == [False, False, False, True]


async def test_a_conversation_holds_nothing_of_those_that_were_abandoned(
    thread: Thread, model: MessagesApi
) -> None:
    for agent in ("claude", "recorded", "claude"):
        await told(thread, f"said to {agent}", agent)
    await told(thread, "and now?")
    assert resumed(await thread.events())[-1]
    assert human_texts(model.requests[-1]["messages"]) == ["said to claude", "and now?"]
    folder = thread.settings.data / "agents" / str(thread.key) / "claude" / "projects"
    assert all('"type":"recorded"' not in file.read_text() for file in folder.rglob("*.jsonl"))


async def test_a_prompt_that_only_an_abandoned_conversation_had_is_missing_in_the_new_one(
    thread: Thread,
) -> None:
    for batch, conversation, uuid in (("a", "one", "prompt"), ("b", "two", "other"), ("c", "two", "prompt")):
        state = StateAppended(
            batch=batch, agent="claude", conversation=conversation, entries=f'[{{"uuid":"{uuid}"}}]'
        )
        last = await thread.bus.publish(Draft(subject=state.subject(thread.key), message=state))
    found = await restore(thread.bus, thread.key, last)
    assert (found.conversation, found.entries) == ("two", {"": [{"uuid": "other"}, {"uuid": "prompt"}]})
