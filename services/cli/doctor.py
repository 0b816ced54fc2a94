"""`doctor`: looks at everything that Threadmill needs here, and says what to do."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import typer
from rich.table import Table

from services.cli.place import Data, default_data
from services.cli.words import out
from services.local.agent_choice import choose
from services.local.broker import BrokerError, nats_server

PROGRAM_SECONDS = 20


class Finding(msgspec.Struct, frozen=True):
    """What one look found; `todo` is the way out, and `needed` whether nothing works without it."""

    what: str
    found: str
    ok: bool = True
    todo: str = ""
    needed: bool = True


def doctor(data: Data = None) -> None:
    """Check every dependency and setting, and say what to do; exit code 1 when something needed is missing."""
    findings = list(look(data or default_data()))
    table = Table("", "", "", "", box=None, show_header=False)
    for finding in findings:
        mark = (
            "[green]✓[/green]" if finding.ok else ("[red]✗[/red]" if finding.needed else "[yellow]![/yellow]")
        )
        table.add_row(
            mark, finding.what, finding.found, f"[bold]{finding.todo}[/bold]" if not finding.ok else ""
        )
    out.print(table)
    if any(finding.needed and not finding.ok for finding in findings):
        raise typer.Exit(1)


def look(data: Path) -> Iterator[Finding]:
    """Yield the findings, one look after another."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", version, sys.version_info >= (3, 11), "install Python 3.11 or newer")
    yield _program("git", ["git", "--version"], "install git")
    yield _broker()
    yield _program("claude code", [str(_bundled_claude()), "--version"], "run `make sync`", needed=False)
    yield _model()
    yield _folder(data)
    yield _port(8700)
    yield _slack()


def _program(what: str, command: list[str], todo: str, *, needed: bool = True) -> Finding:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return Finding(what, "not found", ok=False, todo=todo, needed=needed)
    return Finding(what, done.stdout.strip().splitlines()[0] if done.stdout.strip() else "found")


def _broker() -> Finding:
    try:
        return _program("nats-server", [nats_server(), "--version"], "run `make sync`")
    except BrokerError as e:
        return Finding("nats-server", "not found", ok=False, todo=str(e))


def _bundled_claude() -> Path:
    import claude_agent_sdk  # noqa: PLC0415 (a worker's dependency: doctor also runs where it is missing)

    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


def _model() -> Finding:
    choice = choose(None, os.environ, Path.home())
    return Finding(
        "model", "reachable by settings" if choice.real else "none", choice.real, choice.hint, needed=False
    )


def _folder(data: Path) -> Finding:
    nearest = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(nearest).free // 2**30
    ok = os.access(nearest, os.W_OK) and free >= 1
    return Finding("data folder", f"{data} ({free} GB free)", ok, "name a writable folder with --data")


def _port(port: int) -> Finding:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        todo = "a threadmill dev may be running; else choose another with --port"
        return Finding("port", f"{port} is taken", ok=False, todo=todo, needed=False)
    return Finding("port", f"{port} is free")


def _slack() -> Finding:
    wrong: list[str] = []
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
