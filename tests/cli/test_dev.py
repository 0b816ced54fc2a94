"""`threadmill dev` as a process: one line when it is ready, and nothing left when it is over."""

import contextlib
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Cli, RunningDev, left_behind

pytestmark = pytest.mark.xdist_group("cli-dev")


def runs(process: psutil.Process) -> bool:
    """One that nobody has reaped yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_it_says_ready_once_serves_keeps_others_out_and_leaves_nothing(tmp_path: Path) -> None:
    dev = RunningDev(tmp_path).wait()
    try:
        assert dev.ready == f"ready {dev.url}/\n"
        with urllib.request.urlopen(f"{dev.url}/healthz", timeout=30) as answer:
            assert answer.status == 200
        second = dev.cli.run("dev", "--port", 0)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == (
            f"threadmill: another threadmill dev runs in {dev.data}; stop it or name another --data\n"
        )
        assert left_behind(dev.data)
    finally:
        code, rest = dev.started.stop()
    assert (code, rest) == (0, "")
    assert left_behind(dev.data) == []
    assert "no threadmill dev runs in" in dev.cli.run("sessions").stderr


def test_ctrl_c_before_it_is_ready_takes_the_start_back(tmp_path: Path) -> None:
    dev = RunningDev(tmp_path)
    broker = dev.data / "broker" / "nats.log"
    while not broker.exists():  # the broker is being started
        assert dev.started.process.poll() is None, dev.started.stderr()
    code, rest = dev.started.stop()
    assert (code, rest) == (0, "")
    assert left_behind(dev.data) == []


def test_a_kill_leaves_nothing_running_and_the_next_start_goes_on(tmp_path: Path) -> None:
    dev = RunningDev(tmp_path).wait()
    assert "Turn 1" in dev.cli.ok("send", "remember me")
    assert left_behind(dev.data)
    dev.started.stop(signal.SIGKILL)
    while left_behind(dev.data):  # a dying process takes a moment
        continue
    again = RunningDev(tmp_path).wait()
    try:
        key = again.cli.ok("sessions", "--keys").strip()
        assert "Turn 2" in again.cli.ok("send", "go on", "--session", key)
    finally:
        again.started.stop()
    assert left_behind(dev.data) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_a_setup_left_running_serves_its_session_and_goes_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    """After a kill, with the next start."""
    repository, noted = tmp_path / "repository", tmp_path / "service.pid"
    script = repository / ".threadmill" / "setup"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\nsleep 600 >/dev/null 2>&1 &\necho $! > {noted}\n")
    script.chmod(0o755)
    begun = "git init -q -b main && git add -A && git -c user.name=a -c user.email=a@b commit -qm seed"
    subprocess.run(["sh", "-c", begun], cwd=repository, check=True)
    dev = RunningDev(tmp_path, "--repo", repository).wait()
    try:
        assert "Turn 1" in dev.cli.ok("send", "hello")
        service = psutil.Process(int(noted.read_text()))
        assert service.is_running()
    finally:
        dev.started.stop(number)
    try:
        if number == signal.SIGKILL:
            RunningDev(tmp_path).wait().started.stop()
        assert not runs(service)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            service.kill()


def test_one_that_is_refused_leaves_the_running_one_alone(tmp_path: Path) -> None:
    dev = RunningDev(tmp_path).wait()
    try:
        second = dev.cli.run("dev", "--port", 0)
        assert (second.returncode, "another threadmill dev runs" in second.stderr) == (1, True)
        assert "Turn 1" in dev.cli.ok("send", "still there?")
    finally:
        dev.started.stop()


def test_the_simulator_alone_hands_out_what_ingress_needs(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    sim = cli.start("sim", "--port", 0, "--data", tmp_path / "data")
    try:
        url = sim.line().removeprefix("ready ").strip()
        kept = tmp_path / "data" / "sim" / "slack.env"
        assert f"THREADMILL_SLACK_API_URL={url}api/" in kept.read_text()
        assert kept.stat().st_mode & 0o777 == 0o600
        assert "xoxb-" not in sim.stderr()
    finally:
        assert sim.stop() == (0, "")


def test_the_simulator_takes_tokens_that_were_agreed_on(tmp_path: Path) -> None:
    agreed = {"THREADMILL_SIM_BOT_TOKEN": "xoxb-agreed", "THREADMILL_SIM_APP_TOKEN": "xapp-agreed"}
    kept = tmp_path / "data" / "sim" / "slack.env"
    # The second time the workspace is kept already, with tokens of its own.
    for environ in ({}, agreed):
        sim = Cli(tmp_path, **environ).start("sim", "--port", 0, "--data", tmp_path / "data")
        try:
            sim.line()
            shown = kept.read_text()
            assert all((f"={token}\n" in shown) is bool(environ) for token in agreed.values())
        finally:
            assert sim.stop() == (0, "")
