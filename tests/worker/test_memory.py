"""What an agent remembers on a new worker: its own conversation that goes on, and nothing of one that was abandoned."""

import asyncio
import json

import msgspec
import pytest
from nats.aio.msg import Msg

from schemas.archive import LogPage, ReadLog, Refused
from schemas.events import Event, Notice, TurnStarted
from schemas.inputs import Said
from schemas.keys import SessionKey
from schemas.state import StateAppended
from services.runtime.bus import Draft
from services.worker.archive import Archived
from services.worker.instructions import NO_WISHES
from services.worker.recall import WAITING, Recall
from services.worker.session_log import SessionLog
from services.worker.state import restore
from tests.messages_api import MessagesApi, human_texts
from tests.worker.conftest import ADA, Held, Thread


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


class InPieces:
    """An archive of the conversation `ENTRIES`, one entry a page, with `refusals` before the second."""

    ENTRIES = ({"uuid": "a"}, {"uuid": "b"}, {"uuid": "c"})

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.refusals = 0
        self.speaks = asyncio.Event()
        self.speaks.set()

    async def answer(self, message: Msg) -> None:
        after = ReadLog.decode(message.data).after
        self.asked.append(after)
        await self.speaks.wait()
        if after == 1 and self.refusals:
            self.refusals -= 1
            await message.respond(Refused(reason="not now", later=True).encode())
            return
        entries = msgspec.json.encode([self.ENTRIES[after]]).decode()
        state = StateAppended(batch=str(after), agent="claude", conversation="one", entries=entries)
        record = msgspec.json.encode({"seq": after + 1, "payload": msgspec.Raw(state.encode())})
        more = after + 1 < len(self.ENTRIES)
        page = LogPage(records=(msgspec.Raw(record),), through=after + 1, more=more)
        await message.respond(page.encode())


@pytest.fixture
async def pieces(thread: Thread) -> InPieces:
    await thread.archive.unsubscribe()
    pieces = InPieces()
    await thread.bus.client.subscribe("archiver.read.>", cb=pieces.answer)
    return pieces


@pytest.fixture
async def recall(thread: Thread) -> Recall:
    log = SessionLog(thread.bus, thread.key)
    await log.claim(Held("w-1", 1), 1)
    return Recall(thread.bus, log, "claude")


async def test_a_conversation_is_read_on_from_where_an_archive_that_is_away_left_it(
    pieces: InPieces, recall: Recall
) -> None:
    pieces.refusals, statuses = 2, []
    await recall.restore(1, statuses.append)
    assert pieces.asked == [0, 1, 1, 1, 2]
    assert await recall.store.load("") == list(pieces.ENTRIES)
    assert statuses == [WAITING] * 2


async def test_what_of_an_archive_cannot_be_read_is_told_and_the_rest_of_the_transcript_is_read(
    thread: Thread, model: MessagesApi
) -> None:
    await thread.archive.unsubscribe()
    said = Said(id="m-0", user=ADA, text="the word is heron")
    record = msgspec.Raw(msgspec.json.encode({"seq": 1, "payload": msgspec.Raw(said.encode())}))

    async def answer(message: Msg) -> None:
        request = ReadLog.decode(message.data)
        readable = request.only == "in" and not request.after
        page = LogPage(records=(record,), through=1, more=True)
        refused = Refused(reason="a part of it is damaged; restore it", later=False)
        await message.respond((page if readable else refused).encode())

    await thread.bus.client.subscribe("archiver.read.>", cb=answer)
    # The stream has dropped what the archive has.
    await thread.bus.publish(Draft(subject=said.subject(SessionKey("T1", "C1", "another")), message=said))
    thread.start_worker()
    turn = await thread.say("which word?")
    await thread.assign(turn)
    assert (await thread.end_of(turn)).outcome == "completed"
    notices = [event.text for event in await thread.events() if isinstance(event, Notice)]
    assert any("cannot be read: a part of it is damaged" in text for text in notices)
    assert "the word is heron" in json.dumps(model.requests[0]["system"])


async def test_whoever_comes_next_reads_a_conversation_from_its_beginning(
    pieces: InPieces, recall: Recall
) -> None:
    await recall.begin()
    await recall.close()
    await recall.restore(1, lambda _: None)
    assert pieces.asked == [0, 1, 2] * 2


async def test_an_archive_that_answers_for_long_is_told_as_waited_for(
    pieces: InPieces, recall: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.worker.recall.SLOW_SECONDS", 0.1)
    pieces.speaks.clear()
    statuses: list[str] = []

    def told(status: str) -> None:
        statuses.append(status)
        pieces.speaks.set()

    await recall.restore(1, told)
    assert statuses == [WAITING]


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
