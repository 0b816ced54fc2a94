"""All of Threadmill, as `threadmill dev` runs it, and a person in its Slack."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from schemas.keys import SessionKey
from services.local.dev import Dev, running_dev
from services.local.ground import DevSettings
from services.runtime.tasks import unattended
from tests.messages_api import MessagesApi

Thread = dict[str, Any]
ANSWER_SECONDS = 60


class System:
    """A local mode that can be stopped and started again, and what a person does in it."""

    def __init__(self, settings: DevSettings) -> None:
        self.settings = settings
        self._stack = AsyncExitStack()
        self._changed = asyncio.Condition()
        self.dev: Dev

    async def start(self) -> None:
        self.dev = await self._stack.enter_async_context(running_dev(self.settings))
        assert self.dev.simulator is not None
        self.dev.simulator.workspace.listeners.append(self._notify)
        self.bus = await self._stack.enter_async_context(self.dev.ground.connected("operator"))
        self.http = await self._stack.enter_async_context(
            aiohttp.ClientSession(self.dev.url, headers={"X-Threadmill-Client": "test"})
        )

    async def stop(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    def _notify(self, *_: object) -> None:
        unattended(asyncio.create_task(self._wake()))

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def post(self, door: str, **body: Any) -> dict[str, Any]:
        async with self.http.post(f"/sim/{door}", json=body) as answer:
            told: dict[str, Any] = await answer.json()
            assert answer.status == 200, told
            return told

    async def say(self, text: str, thread: str | None = None, user: str = "U1", **more: Any) -> str:
        body = (
            {"user": user, "channel": "C1", "text": text} | more | ({"thread_ts": thread} if thread else {})
        )
        return str((await self.post("message", **body))["ts"])

    async def thread(self, ts: str, channel: str = "C1") -> Thread:
        async with self.http.get("/sim/thread", params={"channel": channel, "ts": ts}) as answer:
            found: Thread = await answer.json()
            return found

    async def until(self, ts: str, holds: Callable[[Thread], Any], seconds: float = ANSWER_SECONDS) -> Thread:
        """Return the thread as soon as `holds` does; fails with what the thread showed instead."""
        shown: Thread = {}
        try:
            async with asyncio.timeout(seconds):
                while not holds(shown := await self.thread(ts)):
                    async with self._changed:
                        try:
                            await asyncio.wait_for(self._changed.wait(), 1)
                        except TimeoutError:
                            continue
        except TimeoutError:
            pytest.fail(
                f"the thread never came to that; it shows {msgspec.json.encode(shown).decode()[:6000]}"
            )
        return shown

    def key(self, ts: str, channel: str = "C1") -> SessionKey:
        return SessionKey.of_thread("T1", channel, ts)

    @property
    def data(self) -> Path:
        return self.settings.data


def reactions(thread: Thread, place: int = 0) -> list[str]:
    return [reaction["name"] for reaction in thread["messages"][place].get("reactions", [])] if thread else []


def finals(thread: Thread) -> list[dict[str, Any]]:
    """Return the final messages: the bot's, with our metadata, no longer streaming."""
    return [
        message
        for message in thread.get("messages", [])
        if message.get("metadata", {}).get("event_type") == "threadmill_turn"
        and message.get("streaming_state") != "in_progress"
    ]


def shown_text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def turns_done(count: int) -> Callable[[Thread], bool]:
    return lambda thread: len(finals(thread)) >= count


@pytest.fixture
async def model() -> AsyncIterator[MessagesApi]:
    async with MessagesApi() as api:
        yield api


@pytest.fixture
def system_settings() -> dict[str, str]:
    """What its workers are told; a story may change it before the system starts."""
    return {"THREADMILL_PERMISSION_MODE": "sandboxed"}


def make_system(folder: Path, model: str, worker: dict[str, str]) -> System:
    """Return a local mode in `folder` whose agents find their model at `model`."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    environ |= {"ANTHROPIC_API_KEY": "stub", "ANTHROPIC_BASE_URL": model, "IS_SANDBOX": "1"}
    return System(DevSettings(data=folder / "data", environ=environ, port=0, worker=worker))


@pytest.fixture
async def system(
    tmp_path: Path, model: MessagesApi, system_settings: dict[str, str]
) -> AsyncIterator[System]:
    system = make_system(tmp_path, model.url, system_settings)
    await system.start()
    yield system
    await system.stop()
