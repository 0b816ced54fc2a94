"""What an agent remembers on a new worker: its own conversation that goes on, and nothing of one that was abandoned."""

import asyncio

import msgspec
import pytest

from schemas.events import Event, TurnStarted
from schemas.state import StateAppended
from services.runtime.bus import Draft
from services.worker.archive import Archived
from services.worker.instructions import NO_WISHES
from services.worker.state import restore
from tests.messages_api import MessagesApi, human_texts
from tests.worker.conftest import Thread


async def told(thread: Thread, text: str, agent: str = "claude", wishes: tuple[str, ...] = ()) -> None:
    """Have `agent` answer on a worker of its own, which then leaves."""
    thread.settings = msgspec.structs.replace(thread.settings, agent=agent, idle_seconds=0.1)
    thread.start_worker()
    turn = await thread.say(text)
    await thread.assign(turn, instructions=wishes)
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
    found = await restore(thread.bus, Archived(thread.bus, thread.key, "state"), last, last)
    assert (found.conversation, found.entries) == ("two", {"": [{"uuid": "other"}, {"uuid": "prompt"}]})


def wishes_in(prompt: str) -> str:
    return prompt.partition("</instructions>")[0] if prompt.startswith("<instructions>") else ""


@pytest.mark.parametrize("began_with", [(), ("Speak of mills.",)], ids=["without", "with"])
async def test_an_agent_is_told_on_every_worker_what_changed_in_its_instructions_and_that_alone(
    thread: Thread, model: MessagesApi, began_with: tuple[str, ...]
) -> None:
    tides = ("Speak of tides.",)
    for wishes in (began_with, began_with, tides, tides, (), ()):
        await told(thread, "hello", wishes=wishes)
    assert resumed(await thread.events())[1:] == [True] * 5
    heard = [wishes_in(prompt) for prompt in human_texts(model.requests[-1]["messages"])]
    assert [bool(each) for each in heard] == [False, False, True, False, True, False]
    assert (tides[0] in heard[2], NO_WISHES in heard[4]) == (True, True)


async def test_an_agent_of_which_nobody_noted_what_it_was_told_hears_once_that_nothing_is_asked(
    thread: Thread, model: MessagesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(StateAppended, "encode", as_before)
        await told(thread, "hello", wishes=("Speak of mills.",))
    for _ in range(2):
        await told(thread, "hello")
    heard = [wishes_in(prompt) for prompt in human_texts(model.requests[-1]["messages"])]
    assert [NO_WISHES in each for each in heard] == [False, True, False]


def as_before(message: StateAppended) -> bytes:
    """Return the payload of a worker that did not note it."""
    fields = msgspec.to_builtins(message)
    return msgspec.json.encode({name: value for name, value in fields.items() if name != "told"})
