"""The service as its own process: what it refuses to start with, and that it serves."""

import asyncio
import os
import sys

import aiohttp
import pytest

from services.local.broker import Broker
from services.runtime.bus import Bus
from services.runtime.files import MOST_BYTES
from tests.ingress.stage import Slack, eventually, stored
from tests.ports import free_port


async def run(environ: dict[str, str]) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.ingress",
        env=kept | environ,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Return the exit code and what was said; a process that does not end in time is killed and gives None."""
    said = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait([said], timeout=40)
    if not done:
        process.kill()
    _, errors = await said
    return (process.returncode if done else None), errors.decode()


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "Slack's credentials are missing"),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "set SLACK_BOT_TOKEN, and SLACK_SIGNING_SECRET"),
        ({"SLACK_SIGNING_SECRET": "s"}, "Slack's credentials are missing"),
        ({"THREADMILL_HTTP_PORT": "many"}, "THREADMILL_HTTP_PORT"),
        ({"THREADMILL_FILE_BYTES": str(MOST_BYTES + 1)}, "THREADMILL_FILE_BYTES"),
    ],
)
async def test_it_refuses_to_start_without_slack_in_one_sentence(
    environ: dict[str, str], sentence: str
) -> None:
    process = await run(environ)
    code, said = await ended(process)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 1


async def test_a_token_that_slack_refuses_ends_it_in_one_sentence(
    broker: Broker, bus: Bus, slack: Slack
) -> None:
    process = await run(environ(broker, slack) | {"SLACK_BOT_TOKEN": "xoxb-wrong"})
    code, said = await ended(process)
    assert code == 2
    assert "Slack refuses SLACK_BOT_TOKEN (invalid_auth)" in said.splitlines()[-1]
    assert "xoxb" not in said


async def test_it_serves_until_told(broker: Broker, bus: Bus, slack: Slack) -> None:
    port = free_port()
    process = await run(environ(broker, slack) | {"THREADMILL_HTTP_PORT": str(port)})
    try:
        await eventually(lambda: listens(port), within=60)
        slack.simulator.deliver_to(f"http://127.0.0.1:{port}")
        await slack.says("@threadmill fix it")
        assert await eventually(lambda: stored(bus), within=30)
    finally:
        process.terminate()
    code, said = await ended(process)
    assert code == 0, said
    assert slack.simulator.signing_secret not in said
    assert slack.simulator.bot_token not in said


async def test_the_first_refusal_that_calls_somebody_is_seen_as_an_increase(
    broker: Broker, bus: Bus, slack: Slack
) -> None:
    port = free_port()
    health = {"THREADMILL_HEALTH_PORT": str(port)}
    process = await run(environ(broker, slack) | {"THREADMILL_HTTP_PORT": "0"} | health)

    async def counted() -> bool:
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as page:
            series = 'threadmill_refused_total{reason="nearly_full",service="ingress"} 0.0'
            return series in await page.text()

    try:
        await eventually(lambda: listens(port), within=60)
        assert await eventually(counted, within=30)
    finally:
        process.terminate()
        await ended(process)


def environ(broker: Broker, slack: Slack) -> dict[str, str]:
    return {
        "SLACK_BOT_TOKEN": slack.simulator.bot_token,
        "SLACK_SIGNING_SECRET": slack.simulator.signing_secret,
        "THREADMILL_SLACK_API_URL": f"{slack.url}/api/",
        "THREADMILL_NATS_URL": broker.url,
        "THREADMILL_HTTP_HOST": "127.0.0.1",
        "THREADMILL_HEALTH_PORT": "0",
    }


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
