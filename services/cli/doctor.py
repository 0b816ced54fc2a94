"""`doctor`: looks at everything that Threadmill needs here, and says what to do."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop

from services.cli.checkup import examine
from services.cli.findings import Finding, tell
from services.cli.place import Data, default_data, local
from services.local.agent_choice import choose
from services.local.broker import BrokerError, nats_server
from services.local.home import HomeError

PROGRAM_SECONDS = 20
# The first git whose `merge-tree` merges without a work tree.
GIT_NEEDED = (2, 38)
GIT_TODO = "install git 2.38 or newer"
PORT = 8700


def doctor(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Look at a running system over NATS instead of at this machine.")
    ] = False,
    data: Data = None,
) -> None:
    """Check everything that is needed here, and say what to do.

    The exit code is 1 when something is missing that nothing works without.
    """
    tell(uvloop.run(examine(data)) if live else list(look(data or default_data())))


def look(data: Path) -> Iterator[Finding]:
    """Yield the findings, one look after another."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", version, sys.version_info >= (3, 11), "install Python 3.11 or newer")
    yield _git()
    yield _broker()
    yield _program("claude code", [_bundled_claude(), "--version"], "run `make sync`", needed=False)
    yield _model()
    yield _folder(data)
    yield _dev(data)
    yield _slack()


def _program(what: str, command: list[str], todo: str, *, needed: bool = True) -> Finding:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return Finding(what, "not found", ok=False, todo=todo, needed=needed)
    return Finding(what, done.stdout.strip().splitlines()[0] if done.stdout.strip() else "found")


def _git() -> Finding:
    found = _program("git", ["git", "--version"], GIT_TODO)
    version = re.search(r"(\d+)\.(\d+)", found.found)
    new_enough = version is not None and (int(version[1]), int(version[2])) >= GIT_NEEDED
    return msgspec.structs.replace(found, ok=new_enough, todo=GIT_TODO)


def _broker() -> Finding:
    try:
        return _program("nats-server", [nats_server(), "--version"], "run `make sync`")
    except BrokerError as e:
        return Finding("nats-server", "not found", ok=False, todo=str(e))


def _bundled_claude() -> str:
    """Return the program, or a path of none where the library that brings it is missing."""
    found = importlib.util.find_spec("claude_agent_sdk")  # a worker's dependency
    return str(Path(found.origin).parent / "_bundled" / "claude") if found and found.origin else ""


def _model() -> Finding:
    choice = choose(None, os.environ, Path.home())
    return Finding(
        "model from here",
        "reachable by settings" if choice.real else "none, a dev started from here would play a recording",
        choice.real,
        choice.hint.partition(". ")[2] or choice.hint,
        needed=False,
    )


def _folder(data: Path) -> Finding:
    nearest = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free // 2**30
    ok = os.access(nearest, os.W_OK) and free >= 1
    return Finding("data folder", f"{data} ({free} GB free)", ok, "name a writable folder with --data")


def _dev(data: Path) -> Finding:
    """Tell the local mode that runs in the folder, else whether one could begin on the usual port."""
    try:
        address = uvloop.run(local(data))
    except HomeError:
        return _port()
    found = f"runs at {address.url}/ with the agent {address.agent}, its broker at {address.nats}"
    return Finding("threadmill dev", found)


def _port() -> Finding:
    try:
        socket.create_server(("127.0.0.1", PORT)).close()
    except OSError:
        taken = f"not running, and port {PORT} is taken"
        return Finding("threadmill dev", taken, ok=False, todo="choose another with --port", needed=False)
    return Finding("threadmill dev", f"not running, port {PORT} is free")


def _slack() -> Finding:
    prefixes: dict[str, Callable[[str], bool]] = {
        "SLACK_BOT_TOKEN": lambda token: token.startswith("xoxb-"),
        "SLACK_APP_TOKEN": lambda token: token.startswith("xapp-"),
    }
    given = [name for name in prefixes if os.environ.get(name)]
    wrong = [name for name in given if not prefixes[name](os.environ[name])]
    if wrong:
        return Finding("slack", f"{', '.join(wrong)} has another form", ok=False, todo="see docs/slack.md")
    if len(given) == 1:
        return Finding(
            "slack", f"only {given[0]} is set", ok=False, todo="both tokens are needed: docs/slack.md"
        )
    return Finding("slack", "real workspace by Socket Mode" if given else "simulated workspace")
