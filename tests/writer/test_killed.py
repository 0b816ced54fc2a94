"""Writers are killed as processes, and the broker under them: every turn still ends in one final message."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from schemas import events
from schemas.buckets import Cursor
from schemas.bus import CURSORS
from services.ingress.writer.app import Writer
from services.local.broker import Broker
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus

from .conftest import DEADLINE, Json, Slack, expire, finals, kinds, lease_key, ours, signs

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(broker: Broker, slack: Slack) -> AsyncIterator[Process]:
    """A writer in a process of its own; leaving kills it."""
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("writer_process.py")),
        broker.url,
        f"{slack.url}/api/",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert running.stdin
    running.stdin.write(f"{slack.simulator.bot_token}\n".encode())
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


KILLED_AT = [
    "reactions.add",
    "chat.startStream",
    "chat.appendStream",
    "chat.stopStream",
    "chat.postMessage",
    "chat.update",
]


@pytest.mark.parametrize("method", KILLED_AT)
async def test_a_writer_killed_at_any_call_is_followed_by_one_that_doubles_nothing(
    broker: Broker, bus: Bus, slack: Slack, method: str
) -> None:
    async with process(broker, slack) as first:
        session = await slack.session(bus)
        await session.until(lambda t: signs(t) == {"eyes"})
        playing = asyncio.create_task(play(session, first))
        await slack.until_called(method)
        first.kill()
        await first.wait()
    await expire(bus)
    async with process(broker, slack):
        await playing
        seen = await session.until(
            lambda t: (
                finals(t, session.turn)
                and signs(t) == {"white_check_mark"}
                and not kinds(t, "controls")
                and not any(m.get("streaming_state") == "in_progress" for m in ours(t))
            )
        )

    assert len(finals(seen, session.turn)) == 1
    assert "The end." in finals(seen, session.turn)[0]["text"]
    assert len(kinds(seen, "question")) == 1


def says(word: str, thread: Json) -> bool:
    return any(word in each["text"] for each in ours(thread))


async def play(session, writer: Process) -> None:  # type: ignore[no-untyped-def]  # a session of conftest
    """A turn with live text, a question and an end, each shown before the next one, unless `writer` is dead."""

    async def shown(enough: Callable[[Json], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while writer.returncode is None and not enough(await session.thread()):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.02)

    await session.start()
    await shown(lambda thread: signs(thread) == {"gear"})
    for word in ("One ", "two ", "three "):
        await session.delta(word)
        await shown(partial(says, word))
    await session.put(
        events.QuestionAsked(turn=session.turn, id="q", about="choice", title="A?", choices=("A",))
    )
    await shown(lambda thread: kinds(thread, "question"))
    await session.put(events.QuestionClosed(turn=session.turn, id="q", choice="A"))
    await session.text("One two three four.")
    await session.text("The end.", block=1)
    await asyncio.sleep(0.2)
    await session.end("The end.")


@pytest.mark.parametrize("known", [0, 3], ids=["nothing", "the turn's beginning"])
async def test_a_turn_that_a_dead_writer_had_shown_is_not_played_again(
    broker: Broker, bus: Bus, slack: Slack, known: int
) -> None:
    session = await slack.session(bus)
    async with process(broker, slack) as writer:
        await play(session, writer)
        before = await session.until(lambda t: finals(t, session.turn) and not kinds(t, "controls"))
    # It died before it wrote down that it had come further.
    cursors = Bucket(bus, CURSORS.name, Cursor)
    entry = await cursors.get(lease_key(session))
    await cursors.put(lease_key(session), Cursor(sequence=known), entry.revision)
    await expire(bus)
    streams = len(await slack.calls("chat.startStream"))
    async with process(broker, slack):
        _, turn = await session.reply("and then?")
        session.turn = turn
        await session.end("Nothing more.")
        after = await session.until(lambda t: finals(t, turn))

    assert len(await slack.calls("chat.startStream")) == streams
    assert [m["ts"] for m in ours(after)][:-1] == [m["ts"] for m in ours(before)]


async def test_what_a_dead_writer_left_open_is_a_piece_of_the_turn_that_it_showed(
    broker: Broker, bus: Bus, slack: Slack
) -> None:
    session = await slack.session(bus)
    async with process(broker, slack):
        await session.start()
        await session.end("First.")
        await session.until(lambda t: finals(t, session.turn))
        ts, session.turn = await session.reply("and then?")
        await session.start()
        await session.until(lambda t: signs(t, ts) == {"gear"})
        await session.delta("Half a ")
        await session.until(lambda t: any(m.get("streaming_state") == "in_progress" for m in ours(t)))
    cursors = Bucket(bus, CURSORS.name, Cursor)
    await cursors.put(
        lease_key(session), Cursor(sequence=0), (await cursors.get(lease_key(session))).revision
    )
    await expire(bus)
    async with process(broker, slack):
        await session.text("Half a sentence.")
        await session.end("Half a sentence.")
        seen = await session.until(lambda t: finals(t, session.turn) and not kinds(t, "live"))

    assert [m["text"] for m in ours(seen)] == ["First.", "Half a sentence."]


async def test_a_broker_that_dies_costs_nothing(
    broker: Broker, bus: Bus, slack: Slack, writer: Writer
) -> None:
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    await broker.kill()
    await broker.start()
    await session.text("Still here.")
    await session.end("Still here.")

    seen = await session.until(lambda t: finals(t, session.turn) and signs(t) == {"white_check_mark"})

    assert [m["text"] for m in finals(seen, session.turn)] == ["Still here."]
