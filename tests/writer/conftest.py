"""A writer on a real broker and a simulated Slack over real sockets; sessions are played by hand."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from schemas import events
from schemas.base import Message
from schemas.buckets import Cursor, PartitionOwner
from schemas.bus import CURSORS, WRITERS
from schemas.ends import TurnEnd
from schemas.inputs import Said
from schemas.keys import SessionKey, ts_token
from schemas.live import TextDelta
from schemas.people import Person
from services.ingress.slack_api import SlackApi
from services.ingress.writer.app import Writer, wire_writer
from services.ingress.writer.ledger import Ledger
from services.ingress.writer.once import Once
from services.ingress.writer.partition import partition_of
from services.ingress.writer.settings import WriterSettings
from services.ingress.writer.stream import Stream
from services.local.broker import Broker
from services.local.slack.app import Simulator
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus, Draft
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.errors import Conflict

DEADLINE = 20.0
CLIENT = {"X-Threadmill-Client": "test"}
ADA = Person(id="U1", name="ada")
Json = dict[str, Any]

FAST = WriterSettings(
    append_every=0.05,
    controls_after=0.3,
    renew_every=0.3,
    survey_every=0.2,
    save_every=0.05,
    sweep_after=(0.5, 1.5),
)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Slack:
    simulator: Simulator
    url: str
    http: aiohttp.ClientSession

    async def sim(self, name: str, **body: Any) -> Json:
        async with self.http.post(f"{self.url}/sim/{name}", json=body, headers=CLIENT) as response:
            answer = await response.json()
            assert answer["ok"], answer
            return answer

    async def look(self, path: str, **query: str) -> Json:
        async with self.http.get(f"{self.url}/sim/{path}", params=query) as response:
            return await response.json()

    async def calls(self, method: str = "") -> list[Json]:
        return [call for call in (await self.look("calls"))["calls"] if call["method"].startswith(method)]

    async def until_called(self, method: str, like: Callable[[Json], bool] = lambda _: True) -> Json:
        async with asyncio.timeout(DEADLINE):
            while True:
                if found := [call for call in await self.calls(method) if like(call)]:
                    return found[0]
                await asyncio.sleep(0.02)

    async def fault(self, method: str, **what: Any) -> None:
        await self.sim("fault", method=method, **what)

    async def session(self, bus: Bus, text: str = "please", *, channel: str = "C1") -> "Session":
        ts = (await self.sim("message", user="U1", channel=channel, text=text))["ts"]
        session = Session(self, bus, SessionKey.of_thread("T1", channel, ts))
        session.turn = await session.said(ts, text)
        return session


@dataclass
class Session:
    """Plays ingress and worker of one session by hand."""

    slack: Slack
    bus: Bus
    key: SessionKey
    turn: int = 0
    out: int = 0
    blocks: Any = field(default_factory=itertools.count)
    offset: int = 0
    lease: int = 7

    async def put(self, message: Message) -> int:
        draft = Draft(subject=message.subject(self.key), message=message, session=str(self.key))
        return await self.bus.publish(draft)

    async def said(self, ts: str, text: str = "please") -> int:
        return await self.put(Said(id=ts_token(ts), user=ADA, text=text))

    async def reply(self, text: str) -> tuple[str, int]:
        ts = (
            await self.slack.sim(
                "message", user="U1", channel=self.key.channel, text=text, thread_ts=self.key.thread_ts
            )
        )["ts"]
        return ts, await self.said(ts, text)

    async def start(self) -> None:
        await self.put(events.Claimed(turn=self.turn, lease=self.lease, holder="w1"))
        await self.put(
            events.TurnStarted(
                turn=self.turn, attempt=1, worker="w1", agent="claude", resumed=False, warm=True
            )
        )

    async def delta(self, text: str, *, block: int = 0, offset: int | None = None) -> None:
        at = self.offset if offset is None else offset
        await self.bus.live(
            TextDelta.subject(self.key),
            TextDelta(lease=self.lease, turn=self.turn, block=block, offset=at, text=text),
        )
        self.offset = at + len(text)

    async def text(self, text: str, block: int = 0) -> None:
        self.offset = 0
        await self.put(events.TextBlock(turn=self.turn, block=block, text=text))

    async def end(self, text: str = "", outcome: str = "completed", **more: Any) -> int:
        inputs = more.pop("inputs", (self.turn,))
        return await self.put(
            TurnEnd(turn=self.turn, outcome=outcome, inputs=inputs, user=ADA, text=text, **more)  # type: ignore[arg-type]  # any of the words
        )

    async def thread(self) -> Json:
        return await self.slack.look("thread", channel=self.key.channel, ts=self.key.thread_ts)

    async def until(self, enough: Callable[[Json], Any], what: str = "") -> Json:
        seen: Json = {}
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    seen = await self.thread()
                    if enough(seen):
                        return seen
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never came: {what or enough}\nlast seen: {seen}") from None

    async def final(self) -> Json:
        """The turn's final message, once it stands there."""
        thread = await self.until(lambda seen: finals(seen, self.turn), "the final message")
        return finals(thread, self.turn)[0]


async def place_after(bus: Bus, session: Session, sequence: int) -> None:
    """The place in the log has moved past `sequence`: everything up to it is shown."""
    cursors, key = Bucket(bus, CURSORS.name, Cursor), lease_key(session)
    async with asyncio.timeout(DEADLINE):
        while not (value := (await cursors.get(key)).value) or value.sequence < sequence:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.02)


async def expire(bus: Bus) -> None:
    """Every writer's lease runs out, as it does when nobody renews it."""
    writers = Bucket(bus, WRITERS.name, PartitionOwner)
    async with contextlib.aclosing(writers.watch()) as entries:
        async for entry in entries:
            if entry is None:
                return
            await _end_lease(writers, entry.key)


async def _end_lease(writers: Bucket[PartitionOwner], key: str) -> None:
    # A renewal that the dead one had sent may still arrive.
    while (entry := await writers.get(key)).value:
        with contextlib.suppress(Conflict):
            await writers.delete(key, entry.revision)


def lease_key(session: Session) -> str:
    """The key of the session's partition in `writers` and `cursors`."""
    return f"p{partition_of(session.key):02d}"


def ours(thread: Json) -> list[Json]:
    return [message for message in thread["messages"] if message["user"] == "UBOT"]


def kinds(thread: Json, kind: str) -> list[Json]:
    return [one for one in ours(thread) if one.get("metadata", {}).get("event_type") == f"threadmill_{kind}"]


def finals(thread: Json, turn: int) -> list[Json]:
    return [one for one in kinds(thread, "turn") if one["metadata"]["event_payload"]["turn"] == turn]


def signs(thread: Json, ts: str | None = None) -> set[str]:
    message = next(one for one in thread["messages"] if ts in {None, one["ts"]})
    return {one["name"] for one in message.get("reactions", ())}


def words(message: Json) -> str:
    """All text of a message's blocks."""
    found: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            found.extend(v for k, v in part.items() if k in {"text", "title"} and isinstance(v, str))
            for value in part.values():
                walk(value)
        elif isinstance(part, list):
            for value in part:
                walk(value)

    walk(message.get("blocks", []))
    return "\n".join(found)


def slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next stream has begun, but its writer knows so only once the thread was read with it."""
    begun, read = asyncio.Event(), asyncio.Event()
    start, look = Stream.start, Once.look

    async def slow(*given: Any) -> Stream:
        stream = await start(*given)
        begun.set()
        await read.wait()
        return stream

    async def looking(once: Once, *given: Any) -> Ledger:
        await begun.wait()
        ledger = await look(once, *given)
        read.set()
        return ledger

    monkeypatch.setattr(Stream, "start", slow)
    monkeypatch.setattr(Once, "look", looking)


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    simulator = Simulator(time_scale=0.001)
    simulator.workspace.clock._scale = 1.0
    async with serving(simulator.app) as url, aiohttp.ClientSession() as http:
        await simulator.start()
        try:
            yield Slack(simulator, url, http)
        finally:
            await simulator.stop()


@asynccontextmanager
async def writing(
    bus: Bus, slack: Slack, settings: WriterSettings = FAST, *, drain: bool = True, many: int = 16
) -> AsyncIterator[Writer]:
    """A writer that runs; leaving drains it, or with `drain` False kills it as a crash would."""
    async with SlackApi(slack.simulator.bot_token, base_url=f"{slack.url}/api/", timeout=3.0) as api:
        writer = await wire_writer(bus, api, settings)
        running = asyncio.create_task(writer.run())
        try:
            async with asyncio.timeout(DEADLINE):
                while len(writer.leases.partitions) < many and not running.done():  # noqa: ASYNC110 (leases ring no bell)
                    await asyncio.sleep(0.01)
            yield writer
            if drain:
                await writer.drain()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def writer(bus: Bus, slack: Slack) -> AsyncIterator[Writer]:
    async with writing(bus, slack) as running:
        yield running


@pytest.fixture
async def other_bus(broker: Broker) -> AsyncIterator[Bus]:
    """A second process's connection."""
    client = await open_connection(BusSettings(url=broker.url), "other", lambda: None)
    yield Bus(client)
    await close_connection(client)


async def streaming(bus: Bus, slack: Slack, text: str = "Working. ") -> Session:
    """A session whose turn has a live stream with `text` in it."""
    session = await slack.session(bus)
    await session.start()
    await session.until(lambda t: signs(t) == {"gear"})
    await session.delta(text)
    await session.until(lambda t: any(text.strip() in m["text"] for m in ours(t)), "live text")
    return session


def is_said_again(message: Json, text: str) -> bool:
    shown = " ".join(message["text"].split())
    return bool(shown) and shown in " ".join(text.split())


async def ended_once(session: Session, text: str, *, live: bool = True) -> Json:
    """The turn ends with `text` in exactly one final message, and nothing is left streaming."""
    if live:
        await session.text(text)
    await session.end(text)
    final = await session.final()
    seen = await session.until(
        lambda t: (
            signs(t) == {"white_check_mark"}
            and not any(m.get("streaming_state") == "in_progress" for m in ours(t))
            and not [m for m in ours(t) if m["ts"] != final["ts"] and is_said_again(m, text)]
        ),
        "nothing streams, and nothing says again what the final message says",
    )
    assert len(finals(seen, session.turn)) == 1
    assert text in final["text"]
    return final
