"""The services as processes of their own, with one broker between them and the simulated Slack beside them."""

import http.client
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.local.broker import Broker
from tests.cli.conftest import SECONDS, Cli, Started, left_behind

pytestmark = pytest.mark.xdist_group("cli-services")


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
    while '"event":"ready"' not in service.stderr():
        assert service.process.poll() is None, service.stderr()


def post(url: str, **body: Any) -> dict[str, Any]:
    headers = {"X-Threadmill-Client": "test", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


async def test_four_processes_and_a_message_becomes_an_answer(broker: Broker, tmp_path: Path) -> None:
    places = {"THREADMILL_NATS_URL": broker.url, "THREADMILL_HEALTH_PORT": "0"}
    with ExitStack() as stack:
        sim = stack.enter_context(running(Cli(tmp_path), "sim", "--port", 0, "--data", tmp_path / "slack"))
        url = sim.line().removeprefix("ready ").strip()
        given = (tmp_path / "slack" / "sim" / "slack.env").read_text().splitlines()
        slack = dict(line.split("=", 1) for line in given)
        homes = {name: tmp_path / name for name in ("archiver", "scheduler", "ingress")}
        for home in homes.values():
            home.mkdir()
        settings = {
            "archiver": places | {"THREADMILL_FOLDER": str(tmp_path / "archive")},
            "scheduler": places
            | {"THREADMILL_DATA": str(tmp_path / "workers"), "THREADMILL_AGENT": "recorded"},
            "ingress": places | slack | {"THREADMILL_HTTP_PORT": "0"},
        }
        for name, home in homes.items():
            ready(stack.enter_context(running(Cli(home, **settings[name]), "run", name)))
        with listening(url) as changes:
            ts = str(post(f"{url}sim/message", user="U1", channel="C1", text="<@UBOT> hello")["ts"])
            answer = answered(url, ts, changes)
        assert "recording" in answer
    assert left_behind(tmp_path / "workers") == []


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
