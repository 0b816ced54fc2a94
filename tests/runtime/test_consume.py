"""A durable consumer worked off: order, retries, poison, a dying broker, a cancelled service."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from schemas.bus import MAX_PAYLOAD, Consumer
from schemas.events import Notice
from schemas.keys import SessionKey
from schemas.operations import DeadLetter
from services.local.broker import Broker
from services.runtime import consume
from services.runtime.bus import Bus, Draft
from services.runtime.consume import MAX_DELIVERIES, Consume
from services.runtime.errors import Reject, Retry
from services.runtime.follow import Follow, read
from services.runtime.pull import Delivery
from services.runtime.tasks import cancel
from services.runtime.topology import ensure_consumer
from tests.full import full_log

CONSUMER = Consumer(name="test", stream="SESSIONS", description="A test's.", filters=("session.*.*.*.out",))
PATIENCE = 30.0

Handle = Callable[[Delivery], Awaitable[None]]


class Work:
    """A service that works on notices, `handle` telling how; remembers what it did, by session."""

    def __init__(self, bus: Bus, handle: Handle, consumer: Consumer = CONSUMER) -> None:
        self.done: dict[str, list[str]] = defaultdict(list)
        self.changed = asyncio.Condition()
        self._handle = handle
        self._bus = bus
        self._consumer = consumer

    async def hear(self, delivery: Delivery) -> None:
        await self._handle(delivery)
        async with self.changed:
            self.done[session(delivery)].append(text(delivery))
            self.changed.notify_all()

    async def until(self, reached: Callable[[dict[str, list[str]]], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: reached(self.done))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(
            Consume(self._bus, self._consumer, "tester", self.hear, session).run(), name="consume"
        )
        try:
            yield
        finally:
            await cancel(task)


def session(delivery: Delivery) -> str:
    return delivery.subject.split(".")[3]


def text(delivery: Delivery) -> str:
    return Notice.decode(delivery.data).text


async def say(bus: Bus, thread: str, words: str, msg_id: str | None = None) -> int:
    key = SessionKey("T1", "C1", thread)
    draft = Draft(subject=f"session.{key}.out", message=Notice(text=words), session=str(key), id=msg_id)
    return await bus.publish(draft, deadline=20)


async def fine(_: Delivery) -> None:
    return


async def letters(bus: Bus, count: int) -> list[DeadLetter]:
    found: list[DeadLetter] = []
    following = Follow(bus, "DEADLETTER", ["dead.tester.>"]).deliveries()
    async with asyncio.timeout(PATIENCE), contextlib.aclosing(following) as deliveries:
        while len(found) < count:
            if delivery := await anext(deliveries):
                found.append(DeadLetter.decode(delivery.data))
    return found


async def nothing_open(bus: Bus) -> None:
    """Wait until the consumer has delivered everything and everything is answered."""
    async with asyncio.timeout(PATIENCE):
        while True:
            info = await bus.api(f"CONSUMER.INFO.SESSIONS.{CONSUMER.name}", None)
            if not info["num_pending"] and not info["num_ack_pending"]:
                return
            await asyncio.sleep(0.05)


@pytest.fixture(autouse=True)
async def consumer(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consume, "RETRY_SECONDS", 0.05)
    await ensure_consumer(bus, CONSUMER)


async def test_each_session_in_its_order_and_none_waits_for_another(bus: Bus) -> None:
    gate = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        if session(delivery) == "slow":
            await gate.wait()

    work = Work(bus, handle)
    for n in range(30):
        await say(bus, "slow", str(n))
        await say(bus, "quick", str(n))
    async with work.running():
        await work.until(lambda done: len(done["quick"]) == 30)
        assert work.done["slow"] == []
        gate.set()
        await work.until(lambda done: len(done["slow"]) == 30)
    assert work.done["slow"] == work.done["quick"] == [str(n) for n in range(30)]


async def test_what_cannot_be_done_yet_comes_again_after_the_delay(bus: Bus) -> None:
    loop = asyncio.get_running_loop()
    tries: list[float] = []

    async def handle(_: Delivery) -> None:
        tries.append(loop.time())
        if len(tries) == 1:
            raise Retry("the thing that it needs is away", delay=0.4)

    work = Work(bus, handle)
    async with work.running():
        await say(bus, "a", "patience")
        await work.until(lambda done: bool(done["a"]))
    assert tries[1] - tries[0] >= 0.4
    assert await read(bus, "DEADLETTER", ["dead.>"]) == []


async def test_what_is_rejected_becomes_a_dead_letter_with_all_that_it_was(bus: Bus) -> None:
    async def handle(_: Delivery) -> None:
        raise Reject("nobody knows this repository")

    async with Work(bus, handle).running():
        sequence = await say(bus, "a", "whole", "its-id")
        (letter,) = await letters(bus, 1)
        await nothing_open(bus)
    assert (letter.service, letter.reason) == ("tester", "nobody knows this repository")
    assert (letter.origin, letter.sequence, letter.deliveries) == ("session.T1.C1.a.out", sequence, 1)
    assert letter.payload is not None
    assert Notice.decode(letter.payload.encode()).text == "whole"
    assert letter.headers["Nats-Msg-Id"] == "its-id"
    assert letter.headers["Threadmill-Session"] == "T1.C1.a"


async def test_what_needs_an_answer_larger_than_the_broker_takes_becomes_a_dead_letter_at_once(
    bus: Bus,
) -> None:
    async def handle(_: Delivery) -> None:
        await say(bus, "b", "x" * MAX_PAYLOAD)

    async with Work(bus, handle).running():
        await say(bus, "a", "tell me all")
        (letter,) = await letters(bus, 1)
        await nothing_open(bus)
    assert letter.deliveries == 1
    assert "more than the 4,194,304 that the broker takes" in letter.reason


async def test_poison_is_tried_a_few_times_then_buried_and_blocks_nobody(bus: Bus) -> None:
    tries = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal tries
        if text(delivery) == "poison":
            tries += 1
            raise ZeroDivisionError("of all things")

    work = Work(bus, handle)
    await say(bus, "a", "poison")
    for n in range(10):
        await say(bus, "a", str(n))
        await say(bus, "b", str(n))
    async with work.running():
        await work.until(lambda done: len(done["a"]) == len(done["b"]) == 10)
        (letter,) = await letters(bus, 1)
        await nothing_open(bus)
    assert (tries, letter.deliveries) == (MAX_DELIVERIES, MAX_DELIVERIES)
    assert letter.reason == "ZeroDivisionError: of all things"


async def test_an_unexpected_error_that_passes_is_no_dead_letter(bus: Bus) -> None:
    tries = 0

    async def handle(_: Delivery) -> None:
        nonlocal tries
        tries += 1
        if tries < MAX_DELIVERIES:
            raise OSError("a disk is full for a moment")

    work = Work(bus, handle)
    async with work.running():
        await say(bus, "a", "stubborn")
        await work.until(lambda done: done["a"] == ["stubborn"])
        await nothing_open(bus)
    assert await read(bus, "DEADLETTER", ["dead.>"]) == []


async def test_what_finds_no_room_is_tried_until_there_is_some_and_is_no_dead_letter(bus: Bus) -> None:
    tries, tried_often = 0, asyncio.Event()

    async def handle(_: Delivery) -> None:
        nonlocal tries
        tries += 1
        if tries > MAX_DELIVERIES:
            tried_often.set()
        await bus.publish_raw("session.T1.C1.a.state", b"{}", {})

    work = Work(bus, handle)
    await say(bus, "a", "patience")
    async with contextlib.AsyncExitStack() as stack:
        async with full_log(bus), asyncio.timeout(PATIENCE):
            await stack.enter_async_context(work.running())
            await tried_often.wait()
        await work.until(lambda done: done["a"] == ["patience"])
        await nothing_open(bus)
    assert await read(bus, "DEADLETTER", ["dead.>"]) == []


@pytest.mark.parametrize("payload", [b"\xff\xfe no text", b"{", b""], ids=["binary", "broken", "empty"])
async def test_bytes_that_are_no_message_are_kept_in_their_letter(bus: Bus, payload: bytes) -> None:
    async def handle(delivery: Delivery) -> None:
        text(delivery)

    async with Work(bus, handle).running():
        await bus.publish_raw("session.T1.C1.a.out", payload, {})
        (letter,) = await letters(bus, 1)
    kept = letter.payload.encode() if letter.payload is not None else letter.payload_base64
    assert kept == payload


async def test_a_letter_that_cannot_hold_its_message_says_where_it_is(bus: Bus) -> None:
    async def handle(_: Delivery) -> None:
        raise Reject("too much" * 10_000)

    async with Work(bus, handle).running():
        sequence = await bus.publish_raw("session.T1.C1.a.out", b"\x01" * (MAX_PAYLOAD - 1000), {})
        (letter,) = await letters(bus, 1)
        await nothing_open(bus)
    assert letter.payload is None
    assert letter.reason.endswith(f"read session.T1.C1.a.out at {sequence})")
    assert await bus.at("SESSIONS", letter.sequence) is not None


async def test_a_broker_that_dies_in_the_middle_loses_nothing(bus: Bus, broker: Broker) -> None:
    async def handle(_: Delivery) -> None:
        await asyncio.sleep(0.002)

    brief = msgspec.structs.replace(CONSUMER, ack_wait=2.0)  # an answer may die with the broker
    await ensure_consumer(bus, brief)
    work = Work(bus, handle, brief)
    async with work.running():
        for n in range(60):
            await say(bus, "ab"[n % 2], str(n), f"n-{n}")
            if n == 30:
                await broker.kill()
                await broker.start()
        await work.until(lambda done: {int(n) for lane in done.values() for n in lane} == set(range(60)))
        await nothing_open(bus)
    for lane in work.done.values():
        first_times = list(dict.fromkeys(lane))
        assert first_times == sorted(first_times, key=int)


async def test_a_cancelled_service_gives_back_at_once_what_it_had_begun(bus: Bus) -> None:
    begun = asyncio.Event()

    async def stuck(_: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    for n in range(5):
        await say(bus, "a", str(n))
    first = Work(bus, stuck)
    async with first.running():
        await asyncio.wait_for(begun.wait(), PATIENCE)
    second = Work(bus, fine)
    async with second.running(), asyncio.timeout(CONSUMER.ack_wait / 2):
        await second.until(lambda done: len(done["a"]) == 5)
    assert first.done == {}
    assert second.done["a"] == [str(n) for n in range(5)]


async def test_long_work_keeps_its_message_and_those_that_wait_behind_it(bus: Bus) -> None:
    impatient = msgspec.structs.replace(CONSUMER, ack_wait=3.0)
    await ensure_consumer(bus, impatient)
    seen: list[tuple[str, int]] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((text(delivery), delivery.deliveries))
        if text(delivery) == "long":
            await asyncio.sleep(1.5 * impatient.ack_wait)

    work = Work(bus, handle, impatient)
    await say(bus, "a", "long")
    await say(bus, "a", "behind")
    async with work.running():
        await work.until(lambda done: done["a"] == ["long", "behind"])
        await nothing_open(bus)
    assert seen == [("long", 1), ("behind", 1)]
