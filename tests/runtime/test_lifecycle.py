"""A service as a real process: it starts, is told to stop, drains, and says in one line why it cannot run."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from services.local.broker import Broker
from services.runtime.health import Readiness
from services.runtime.service import run_service
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0


@contextlib.asynccontextmanager
async def process(**environ: str) -> AsyncIterator[Process]:
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "OTEL_"))
    }
    told = {"THREADMILL_HEALTH_HOST": "127.0.0.1", "THREADMILL_HEALTH_PORT": "0"}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.runtime.a_service"),
        env=plain | told | environ,
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


async def hear(running: Process, word: str) -> None:
    assert running.stdout is not None
    assert (await running.stdout.readline()).decode().strip() == word


async def ended(running: Process) -> tuple[int, str]:
    assert running.stderr is not None
    errors = (await running.stderr.read()).decode()
    return await running.wait(), errors


async def ready(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status, (await answer.text()).strip()


async def until_ready_says(port: int, wanted: tuple[int, str]) -> None:
    while await ready(port) != wanted:  # noqa: ASYNC110 (a page has no event to wait for)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_is_unready_first_then_drains_then_ends(
    broker: Broker, number: signal.Signals
) -> None:
    port = free_port()
    async with process(THREADMILL_NATS_URL=broker.url, THREADMILL_HEALTH_PORT=str(port)) as running:
        await hear(running, "running")
        assert await ready(port) == (200, "ok")
        running.send_signal(number)
        await hear(running, "draining")
        assert await ready(port) == (503, "draining")
        assert running.stdin is not None
        running.stdin.write(b"go on\n")
        await hear(running, "drained")
        await hear(running, "cancelled")
        code, errors = await ended(running)
    assert code == 0
    assert [json.loads(line)["event"] for line in errors.splitlines()] == ["ready"]


async def test_a_broker_that_goes_makes_it_unready_and_one_that_comes_back_ready(broker: Broker) -> None:
    port = free_port()
    async with process(THREADMILL_NATS_URL=broker.url, THREADMILL_HEALTH_PORT=str(port)) as running:
        await hear(running, "running")
        await broker.kill()
        await until_ready_says(port, (503, "bus"))
        await broker.start()
        await until_ready_says(port, (200, "ok"))


async def test_while_it_waits_for_a_broker_it_is_alive_unready_and_stops_when_told() -> None:
    port = free_port()
    nobody = f"nats://127.0.0.1:{free_port()}"
    async with process(THREADMILL_NATS_URL=nobody, THREADMILL_HEALTH_PORT=str(port)) as running:
        assert running.stderr is not None
        assert json.loads(await running.stderr.readline())["event"] == "no broker yet"
        assert await ready(port) == (503, "started")
        running.send_signal(signal.SIGTERM)
        code, errors = await ended(running)
    assert code == 0
    assert "Traceback" not in errors


async def test_told_to_stop_while_it_is_being_wired_it_ends(broker: Broker) -> None:
    async with process(THREADMILL_NATS_URL=broker.url, BEHAVIOUR="waits") as running:
        await hear(running, "wiring")
        running.send_signal(signal.SIGTERM)
        assert await ended(running) == (0, "")


async def test_wrong_settings_are_one_line_and_the_exit_code_2() -> None:
    async with process(THREADMILL_HEALTH_PORT="many", THREADMILL_LOG_LEVEL="LOUD") as running:
        code, errors = await ended(running)
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith("threadmill told: these settings cannot be used: ")
    assert "THREADMILL_HEALTH_PORT" in line
    assert "THREADMILL_LOG_LEVEL" in line


async def test_a_port_that_is_taken_is_one_line_with_the_way_out_and_the_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with process(THREADMILL_HEALTH_PORT=port) as running:
            code, errors = await ended(running)
    assert code == 2
    (line,) = errors.splitlines()
    assert line.startswith(f"threadmill told: the health page cannot be at 127.0.0.1:{port} (")
    assert line.endswith("name another port with THREADMILL_HEALTH_PORT, or 0 for no page")


async def test_a_service_that_ends_by_itself_is_an_error(broker: Broker) -> None:
    async with process(THREADMILL_NATS_URL=broker.url, BEHAVIOUR="ends") as running:
        code, errors = await ended(running)
    assert code == 1
    assert "the service ended by itself" in errors


class Failing:
    """A service whose work fails; a drain of it would be a mistake."""

    async def run(self) -> None:
        raise OSError("the disk is gone")

    async def drain(self) -> None:
        raise AssertionError("there is nothing to drain")


async def test_what_a_service_dies_of_is_what_is_raised() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        await run_service(Failing(), asyncio.Event(), Readiness({}))
