"""The services as processes of their own, with one broker between them and the simulated Slack beside them."""

import asyncio
import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.local.broker import running_broker
from services.local.keys import Keys, made
from tests.cli.conftest import SECONDS, Cli, Started, left_behind
from tests.messages_api import MessagesApi, Say

# Five processes start and end, on a busy machine one after the other.
pytestmark = [pytest.mark.xdist_group("cli-services"), pytest.mark.timeout(300)]


@contextmanager
def running(cli: Cli, *arguments: object) -> Iterator[Started]:
    """Run a command for the body; it has to end well."""
    started = cli.start(*arguments)
    try:
        yield started
    finally:
        code, _ = started.stop()
    assert code == 0, started.stderr()


def ready(service: Started) -> None:
    """Wait until a service says that it is ready."""
    while '"event":"ready"' not in service.stderr().replace(" ", ""):
        assert service.process.poll() is None, service.stderr()


def post(url: str, **body: Any) -> dict[str, Any]:
    headers = {"X-Threadmill-Client": "test", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


@pytest.mark.parametrize("guarded", [True, False], ids=["with keys", "a broker that trusts everybody"])
async def test_four_processes_and_a_message_becomes_an_answer(tmp_path: Path, *, guarded: bool) -> None:
    keys = made(tmp_path / "keys") if guarded else None
    access = keys.broker.read_text() if keys else ""
    async with MessagesApi() as model, running_broker(tmp_path / "broker", access) as broker:
        model.reply_to("hello", Say("Hello from a worker."))
        answer = await asyncio.to_thread(_story, broker.url, model.url, tmp_path, keys)
    assert "Hello from a worker." in answer
    assert left_behind(tmp_path / "workers") == []


def _shown(keys: Keys | None, name: str) -> dict[str, str]:
    """Return what a service is told of who it is."""
    if keys is None:
        return {}
    signing = {"THREADMILL_SIGNING_KEY": str(keys.workers)} if name == "scheduler" else {}
    return {"THREADMILL_NATS_CREDS": str(keys.of(name))} | signing


def _story(nats_url: str, model_url: str, place: Path, keys: Keys | None) -> str:
    common = {"THREADMILL_NATS_URL": nats_url, "THREADMILL_HEALTH_PORT": "0"}
    model = {"ANTHROPIC_API_KEY": "stub", "ANTHROPIC_BASE_URL": model_url}
    with ExitStack() as stack:
        sim = stack.enter_context(running(Cli(place), "sim", "--port", 0, "--data", place / "slack"))
        url = sim.line().removeprefix("ready ").strip()
        credentials = (place / "slack" / "sim" / "slack.env").read_text().splitlines()
        own = {  # the scheduler makes what the others wait for
            "scheduler": {"THREADMILL_DATA": str(place / "workers"), **model},
            "archiver": {"THREADMILL_FOLDER": str(place / "archive")},
            "ingress": dict(line.split("=", 1) for line in credentials),
        }
        for name, settings in own.items():
            home = place / name
            home.mkdir()
            ready(
                stack.enter_context(
                    running(Cli(home, **common, **settings, **_shown(keys, name)), "run", name)
                )
            )
        with listening(url) as changes:
            written = post(f"{url}sim/message", user="U1", channel="C1", text="<@UBOT> hello")
            return answered(url, str(written["ts"]), changes)


def listening(url: str) -> http.client.HTTPResponse:
    """Open the stream of the workspace's changes."""
    request = urllib.request.Request(f"{url}sim/events", headers={"X-Threadmill-Client": "test"})
    stream: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=SECONDS)
    return stream


def answered(url: str, ts: str, changes: http.client.HTTPResponse) -> str:
    """Return the bot's final message as soon as it stands in the thread."""
    until = time.monotonic() + SECONDS
    thread: dict[str, Any] = {}
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{url}sim/thread?channel=C1&ts={ts}", timeout=SECONDS) as found:
            thread = json.load(found)
        for message in thread["messages"]:
            final = message.get("metadata", {}).get("event_type") == "threadmill_turn"
            if final and message.get("streaming_state") != "in_progress":
                return json.dumps(message)
        changes.readline()
    pytest.fail(f"no answer came; the thread shows {json.dumps(thread)[:4000]}")
