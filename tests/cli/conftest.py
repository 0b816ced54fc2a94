"""The command line as people run it: real processes, each test in a home of its own."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

THREADMILL = Path(sys.executable).with_name("threadmill")
SECONDS = 90
INHERITED = ("LANG", "PYTHONPATH", "TMPDIR")


class Cli:
    """A person with a home folder and a terminal."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        path = f"{THREADMILL.parent}{os.pathsep}{os.environ['PATH']}"
        # The nats CLI looks for its contexts in the account's home, whatever HOME says.
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "PATH": path}
        self.environ: Mapping[str, str] = inherited | own | environ

    def run(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run `threadmill` to its end."""
        done = subprocess.run(
            [THREADMILL, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            env=self.environ,
            timeout=SECONDS,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def ok(self, *arguments: object, stdin: bytes = b"") -> str:
        """Run `threadmill` and return what it prints; it has to succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: object) -> "Started":
        return Started(self, [THREADMILL, *map(str, arguments)])


class Started:
    """A command that runs."""

    def __init__(self, cli: Cli, command: list[Any]) -> None:
        self._log = (cli.home / f"{command[1]}.stderr").open("w+b")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=cli.environ,
            bufsize=0,  # `select` sees only what Python has not read ahead
            start_new_session=True,
        )

    def line(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        text = self.process.stdout.readline().decode() if readable else ""
        assert text, f"it printed nothing; its standard error is {self.stderr()}"
        return text

    def stderr(self) -> str:
        self._log.flush()
        return Path(str(self._log.name)).read_text()

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and the rest of the standard output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=SECONDS)
        self._log.close()
        return self.process.returncode, rest.decode()


class RunningDev:
    """A `threadmill dev`, and the person who talks to it."""

    def __init__(self, home: Path, *arguments: object, **environ: str) -> None:
        self.data = home / "data"
        # Nobody's patience is tested here: recordings play at once, and nobody is refused.
        quick = {"THREADMILL_RECORDING_SPEED": "0", "THREADMILL_SCHEDULER_TURNS_PER_WINDOW": "1000"}
        self.cli = Cli(home, THREADMILL_DATA=str(self.data), **(quick | environ))
        self.started = self.cli.start("dev", "--port", 0, "--agent", "recorded", *arguments)

    def wait(self) -> "RunningDev":
        self.ready = self.started.line()
        self.url = self.ready.removeprefix("ready ").strip().rstrip("/")
        return self

    @property
    def address(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "address.json").read_text())
        return found


def left_behind(data: Path) -> list[str]:
    """Return the processes that belong to a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("THREADMILL_DATA", "")]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(data) in word for word in words):
            found.append(" ".join(words))
    return found


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDev]:
    running = RunningDev(tmp_path_factory.mktemp("home"))
    try:
        yield running.wait()
    finally:
        running.started.stop()
