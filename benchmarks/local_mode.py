"""All of local mode as a process of its own (`python -m benchmarks.local_mode`), a person in it, and an eye on its bus."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import uvloop
from nats.aio.msg import Msg

from benchmarks.child import child, tell, told, until_ended
from benchmarks.cluster import on_three_nodes
from schemas.bus import WORK, pool_consumer
from schemas.keys import SessionKey
from schemas.live import LIVES, Live
from services.local.dev import running_dev
from services.local.ground import DevSettings, prepared
from services.local.guard import CLIENT_HEADER
from services.runtime.bus import Bus
from services.runtime.connection import BusSettings, close_connection, open_connection
from services.runtime.log import configure_logging
from services.scheduler.settings import SchedulerSettings

POOL = "default"
DATA = "data"
# Brokers that are three have the disk to themselves, as they have on machines of their own; all else lies here.
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
WARM_SECONDS = 60.0
TURN_SECONDS = 90.0


class Run(msgspec.Struct, kw_only=True):
    """How local mode is to run, on one node or three; `worker` and `environ` as in `DevSettings`."""

    data: str = ""
    agent: str
    environ: dict[str, str] = {}
    worker: dict[str, str] = {}
    warm: int = 1
    max_workers: int = 8
    nodes: int = 1


class Running(msgspec.Struct):
    """Where it runs, and the operator's credential."""

    url: str
    nats_url: str
    creds: str


class Seen(msgspec.Struct):
    """What was published without being kept, with the Unix time of its arrival."""

    assigned: dict[str, float] = {}
    live: dict[str, list[tuple[float, Live]]] = msgspec.field(default_factory=lambda: defaultdict(list))
    ended: dict[str, asyncio.Event] = msgspec.field(default_factory=lambda: defaultdict(asyncio.Event))


class LocalMode:
    """A running local mode. `pid` is its process, `data` its folder."""

    def __init__(self, running: Running, bus: Bus, http: aiohttp.ClientSession, pid: int, data: Path) -> None:
        self.url = running.url
        self.nats_url = running.nats_url
        self.creds = running.creds
        self.data = data
        self.bus = bus
        self.http = http
        self.pid = pid
        self.seen = Seen()

    async def look(self) -> None:
        """Begin to see."""
        subscribe = self.bus.client.subscribe
        await subscribe(f"work.{POOL}", cb=self._assigned)
        await subscribe("live.>", cb=self._live)
        await subscribe("session.*.*.*.end.*", cb=self._ended)
        await self.bus.client.flush()

    async def warm(self, workers: int) -> None:
        """Return when `workers` wait for an assignment. Raises `TimeoutError`."""
        consumer = pool_consumer(POOL)
        async with asyncio.timeout(WARM_SECONDS):
            while True:
                info = await self.bus.api(f"CONSUMER.INFO.{WORK.name}.{consumer.name}", None)
                if info.get("num_waiting", 0) >= workers:
                    return
                await asyncio.sleep(0.1)

    async def say(self, text: str) -> SessionKey:
        """Say `text` in a new thread; return its session."""
        body = {"user": "U1", "channel": "C1", "text": f"<@UBOT> {text}"}
        async with self.http.post(f"{self.url}/sim/message", json=body) as answer:
            said: dict[str, Any] = await answer.json()
        return SessionKey.of_thread("T1", "C1", said["ts"])

    async def reply(self, key: SessionKey, text: str) -> None:
        """Say `text` in the session's thread."""
        body = {"user": "U1", "channel": key.channel, "thread_ts": key.thread_ts, "text": text}
        async with self.http.post(f"{self.url}/sim/message", json=body) as answer:
            answer.raise_for_status()

    async def stop(self, key: SessionKey) -> None:
        """Press Slack's Stop in the session's thread."""
        body = {"user": "U1", "channel": key.channel, "thread_ts": key.thread_ts}
        async with self.http.post(f"{self.url}/sim/stop", json=body) as answer:
            answer.raise_for_status()

    async def end(self, key: SessionKey) -> None:
        """Return when a turn of the session has ended. Raises `TimeoutError`."""
        async with asyncio.timeout(TURN_SECONDS):
            await self.seen.ended[str(key)].wait()

    async def calls(self) -> list[dict[str, Any]]:
        """Return what Slack's API received, oldest first."""
        async with self.http.get(f"{self.url}/sim/calls") as answer:
            calls: list[dict[str, Any]] = (await answer.json())["calls"]
            return calls

    async def _assigned(self, message: Msg) -> None:
        self.seen.assigned[(message.headers or {}).get("Threadmill-Session", "")] = time.time()

    async def _live(self, message: Msg) -> None:
        arrived, decoded = time.time(), LIVES.decode(message.data)
        if isinstance(decoded, Live):
            self.seen.live[message.subject.removeprefix("live.")].append((arrived, decoded))

    async def _ended(self, message: Msg) -> None:
        self.seen.ended[".".join(message.subject.split(".")[1:4])].set()


@contextlib.asynccontextmanager
async def local_mode(run: Run) -> AsyncIterator[LocalMode]:
    """Run local mode for the body, in a process of its own, with a folder that is gone afterwards when `run` names none."""
    where = MEMORY if run.nodes > 1 else None
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=where, ignore_cleanup_errors=True))
        given = run if run.data else msgspec.structs.replace(run, data=folder)
        process = await stack.enter_async_context(child("benchmarks.local_mode", given))
        running = process.answer(Running)
        client = await open_connection(
            BusSettings(url=running.nats_url, creds=Path(running.creds)), "bench", lambda: None
        )
        stack.push_async_callback(close_connection, client)
        http = await stack.enter_async_context(aiohttp.ClientSession(headers={CLIENT_HEADER: "bench"}))
        mode = LocalMode(running, Bus(client), http, process.pid, Path(given.data) / DATA)
        await mode.look()
        yield mode


async def _main(run: Run) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    settings = DevSettings(
        data=Path(run.data) / DATA,
        environ={"HOME": run.data, "TMPDIR": run.data} | kept | run.environ,
        port=0,
        agent=run.agent,
        scheduler=SchedulerSettings(
            pool=POOL, warm=run.warm, max_workers=run.max_workers, turns_per_window=10_000
        ),
        worker=run.worker,
    )
    async with running_dev(settings, on_three_nodes if run.nodes > 1 else prepared) as dev:
        tell(Running(dev.url, dev.ground.broker.url, str(dev.ground.keys.of("operator"))))
        await until_ended()


if __name__ == "__main__":
    configure_logging("bench", form="text", level="ERROR")
    uvloop.run(_main(told(Run)))
