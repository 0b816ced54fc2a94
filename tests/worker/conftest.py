"""A worker in this process, on a real broker, with the real Claude Code and a model that says what a test wants."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil
import pytest
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from schemas.archive import LogPage
from schemas.base import Message, now
from schemas.credentials import Secrets
from schemas.ends import TurnEnd
from schemas.events import EVENTS, Event
from schemas.inputs import Answered, Continued, Said, Stop
from schemas.keys import SessionKey
from schemas.people import Person
from schemas.work import Admission, Assignment
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.connection import BusSettings
from services.runtime.follow import Follow, read
from services.worker.access import Access
from services.worker.assignment import take
from services.worker.opening import Opening
from services.worker.session import Session
from services.worker.settings import WorkerSettings
from services.worker.working import ahead
from tests.messages_api import MessagesApi

ADA = Person(id="U1", name="Ada")


async def in_no_pool() -> None:
    """There is none to leave."""


class Held(NamedTuple):
    """A lease that stands, whatever the broker says."""

    holder: str
    token: int
    follows: int = 0

    def fresh(self) -> bool:
        return True

    async def confirm(self) -> None:
        pass


class Thread:
    """One Slack thread as its people and its log see it; `archive` and `desk` answer in the other services' place."""

    archive: Subscription
    desk: Subscription

    def __init__(self, bus: Bus, settings: WorkerSettings) -> None:
        self.bus = bus
        self.key = SessionKey("T1", "C1", "1712345678-000100")
        self.settings = settings
        self.worker: asyncio.Task[None] | None = None
        self._said = 0

    async def say(self, text: str) -> int:
        self._said += 1
        said = Said(id=f"m-{self._said}", user=ADA, text=text)
        return await self.bus.publish(Draft(subject=said.subject(self.key), message=said, fence=Fence(0)))

    async def answer(self, question: str, choice: str, id_: str = "a-1") -> None:
        answered = Answered(id=id_, user=ADA, question=question, choice=choice)
        await self.bus.publish(Draft(subject=answered.subject(self.key), message=answered, fence=Fence(0)))

    async def go_on(self) -> int:
        continued = Continued(id="c-1", user=ADA)
        draft = Draft(subject=continued.subject(self.key), message=continued, fence=Fence(0))
        return await self.bus.publish(draft)

    async def stop(self, at: datetime | None = None) -> None:
        stop = Stop(user=ADA, at=at or now())
        await self.bus.publish(Draft(subject=stop.subject(self.key), message=stop))

    async def assign(
        self,
        turn: int,
        attempt: int = 1,
        turn_seconds: int = 3600,
        max_budget_usd: float | None = None,
        instructions: tuple[str, ...] = (),
    ) -> None:
        assignment = Assignment(
            session=str(self.key),
            turn=turn,
            attempt=attempt,
            pool="default",
            user=ADA,
            turn_seconds=turn_seconds,
            max_budget_usd=max_budget_usd,
            instructions=instructions,
            expires_at=datetime.now(UTC) + timedelta(seconds=60),
        )
        await self.bus.publish(Draft(subject=assignment.subject(), message=assignment, ttl=60))

    def start_worker(self, name: str = "w-1") -> Session | None:
        self.session: Session | None = None

        async def work() -> None:
            settings = msgspec.structs.replace(self.settings, worker=name)
            taken = await take(self.bus, "default", name, ahead=partial(ahead, settings))
            opening = taken.opening or Opening(settings, taken.assignment, Access.of(os.environ, Secrets()))
            self.session = Session(self.bus, settings, taken, opening, in_no_pool, warm=True)
            await self.session.run()

        self.worker = asyncio.create_task(work())
        return self.session

    async def kill_agent(self) -> None:
        """Kill Claude Code, and wait until it is gone."""
        found = [each for each in psutil.Process().children(recursive=True) if _name(each) == "claude"]
        assert found
        for process in found:
            process.kill()
        await asyncio.to_thread(psutil.wait_procs, found, 10)

    async def events(self) -> list[Event]:
        log = await read(self.bus, "SESSIONS", [f"session.{self.key}.out"])
        return [event for event in (EVENTS.decode(entry.data) for entry in log) if isinstance(event, Event)]

    async def until(self, found: Callable[[Message], bool], seconds: float = 30) -> Message:
        """Wait for the first `out` for which `found` holds."""
        async with asyncio.timeout(seconds):
            follow = Follow(self.bus, "SESSIONS", [f"session.{self.key}.out"])
            async with contextlib.aclosing(follow.deliveries()) as deliveries:
                async for delivery in deliveries:
                    event = EVENTS.decode(delivery.data) if delivery else None
                    if isinstance(event, Event) and found(event):
                        return event
        raise AssertionError("the log ended")

    async def state_stored(self, seconds: float = 10) -> None:
        """Wait until the agent's conversation has a beginning in the log."""
        async with asyncio.timeout(seconds):
            follow = Follow(self.bus, "SESSIONS", [f"session.{self.key}.state"])
            async with contextlib.aclosing(follow.deliveries()) as deliveries:
                async for delivery in deliveries:
                    if delivery:
                        return

    async def end_of(self, turn: int, seconds: float = 30) -> TurnEnd:
        async with asyncio.timeout(seconds):
            follow = Follow(self.bus, "SESSIONS", [f"session.{self.key}.end.{turn}"])
            async with contextlib.aclosing(follow.deliveries()) as deliveries:
                async for delivery in deliveries:
                    if delivery:
                        return TurnEnd.decode(delivery.data)
        raise AssertionError("the log ended")


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a worker puts into a temporary folder is gone when its session is."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert [entry.name for entry in folder.iterdir()] == []


@pytest.fixture
async def model() -> AsyncIterator[MessagesApi]:
    async with MessagesApi() as api:
        yield api


@pytest.fixture
async def thread(
    bus: Bus, tmp_path: Path, model: MessagesApi, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Thread]:
    monkeypatch.setenv("HOME", str(tmp_path))  # no rc file of whoever runs the tests
    monkeypatch.setenv("ANTHROPIC_API_KEY", "stub")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", model.url)
    monkeypatch.setattr("services.worker.working.configure_logging", lambda *_, **__: None)

    async def nothing_archived(message: Msg) -> None:
        await message.respond(LogPage(records=(), through=0, more=False).encode())

    async def admitted(message: Msg) -> None:
        await message.respond(Admission(admitted=True).encode())

    archive = await bus.client.subscribe("archiver.read.>", cb=nothing_archived)
    desk = await bus.client.subscribe("scheduler.admit.>", cb=admitted)
    url = bus.client.connected_url
    assert url is not None
    thread = Thread(
        bus,
        WorkerSettings(
            worker="w-1",
            data=tmp_path / "data",
            nats=BusSettings(url=url.geturl()),
            permission_mode="sandboxed",
            idle_seconds=60,
        ),
    )
    thread.archive, thread.desk = archive, desk
    thread.settings.data.mkdir()
    yield thread
    if thread.worker:
        thread.worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await thread.worker


def repository(thread: Thread) -> Path:
    return thread.settings.data / "repos" / "T1-U1.git"


async def prepared_repository(thread: Thread, name: str, content: str) -> None:
    """Put an executable file into the person's repository before the session begins."""
    work = thread.settings.data / "seed"
    script = (
        f"git init -q -b main {work} && mkdir -p {work}/$(dirname {name}) && printf '%s' \"$CONTENT\" > {work}/{name}"
        f" && chmod +x {work}/{name} && git -C {work} add -A && git -C {work} -c user.name=a -c user.email=a@b commit -qm seed"
        f" && git clone -q --bare {work} {repository(thread)}"
    )
    await asyncio.to_thread(
        subprocess.run, ["sh", "-c", script], check=True, env={"CONTENT": content, "PATH": "/usr/bin:/bin"}
    )
