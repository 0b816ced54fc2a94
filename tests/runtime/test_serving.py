"""Requests in a flood: each asker gets answers, whatever another one sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg
from nats.errors import OutboundBufferLimitError

from schemas.credentials import Denied
from services.runtime import serving
from services.runtime.asking import reply
from services.runtime.bus import Bus
from services.runtime.metrics import REFUSED
from services.runtime.serving import MOST_BYTES, MOST_OF_ONE, Serving
from services.runtime.tasks import cancel
from services.scheduler.requests import Requests
from tests.scheduler.until import until


class Slow:
    """Answers with the length of what it was asked, as soon as it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()

    async def answer(self, message: Msg) -> None:
        await self.may.wait()
        await reply(message, Denied(reason=str(len(message.data))))


@contextlib.asynccontextmanager
async def asked(bus: Bus, slow: Slow, subject: str = "test.*") -> AsyncIterator[None]:
    task = asyncio.create_task(Serving(bus.client, "test", subject, slow.answer, at_once=8).run())
    await asyncio.sleep(0)
    yield
    await cancel(task)


def dropped() -> float:
    return REFUSED.labels("test", "overload")._value.get()


async def ask(bus: Bus, subject: str, payload: bytes = b"x") -> str:
    return Denied.decode((await bus.client.request(subject, payload, timeout=5)).data).reason


async def flood(bus: Bus, subject: str, count: int) -> None:
    for _ in range(count):
        await bus.client.publish(subject, b"x")
    await bus.client.flush()


async def test_who_floods_holds_nobody_else_up_and_is_answered_later(bus: Bus) -> None:
    slow, before = Slow(), dropped()
    async with asked(bus, slow):
        await flood(bus, "test.flood", 100)
        await until(lambda: dropped() == before + 100 - MOST_OF_ONE)
        other = asyncio.create_task(ask(bus, "test.other"))
        await bus.client.flush()
        slow.may.set()
        assert await other == "1"
        assert await ask(bus, "test.flood") == "1"


async def test_only_so_many_wait_whoever_they_are(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", 5)
    slow, before = Slow(), dropped()
    async with asked(bus, slow):
        for number in range(100):
            await flood(bus, f"test.{number}", 1)
        # Eight are being answered, one waits for its slot, five behind it.
        await until(lambda: dropped() == before + 100 - (8 + 1 + 5))


async def test_operators_ask_as_much_at_once_as_they_like(bus: Bus) -> None:
    slow = Slow()
    async with asked(bus, slow, "test"):
        asking = [asyncio.create_task(ask(bus, "test")) for _ in range(20)]
        await asyncio.sleep(0)
        slow.may.set()
        assert await asyncio.gather(*asking) == ["1"] * 20


async def test_what_is_longer_than_any_request_arrives_as_nothing(bus: Bus) -> None:
    slow = Slow()
    slow.may.set()
    async with asked(bus, slow):
        assert await ask(bus, "test.a", b"x" * MOST_BYTES) == str(MOST_BYTES)
        assert await ask(bus, "test.a", b"x" * (MOST_BYTES + 1)) == "0"


async def test_an_answer_that_cannot_be_sent_ends_nothing(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(place: list[str], payload: bytes) -> Denied:
        return Denied(reason=place[0])

    tried = asyncio.Event()

    async def cannot(*_: object, **__: object) -> None:
        tried.set()
        raise OutboundBufferLimitError

    task = asyncio.create_task(Requests(bus, "test", 1, answer).run())
    await asyncio.sleep(0)
    await bus.client.publish("scheduler.test.a", b"", reply="nobody")
    with monkeypatch.context() as broken:
        broken.setattr(bus.client, "publish", cannot)
        await tried.wait()
    assert await ask(bus, "scheduler.test.b") == "b"
    await cancel(task)
