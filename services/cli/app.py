"""The commands put together; each is imported when it is called."""

import importlib
import importlib.metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from services.cli.words import fail
from services.local.errors import LocalError
from services.runtime.errors import SettingsError, StreamFull, TooLarge, Unavailable

# A command's name and where its function or group is, in the order of the help.
COMMANDS = {
    "dev": "dev:dev",
    "send": "talk:send",
    "tail": "tail:tail",
    "sessions": "transcripts:sessions",
    "transcript": "transcripts:transcript",
    "turns": "turns:turns",
    "leases": "turns:leases",
    "audit": "audit:audit",
    "instructions": "instructions:instructions",
    "doctor": "doctor:doctor",
    "dead": "dead:app",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "decode": "decode:decode",
    "nats-url": "place:nats_url",
    "nats-creds": "place:nats_creds",
    "credentials": "credentials:credentials",
    "slack": "slack:app",
    "run": "run:run",
    "sim": "sim:sim",
}
# What a command may raise whose text is already the one sentence with the way out.
TOLD = (LocalError, SettingsError, TooLarge, Unavailable)
INTERRUPTED = 130


class Commands(TyperGroup):
    """Imports a command late: `decode` runs once per message, and an image holds the libraries of one service."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, for the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, None for one that there is not."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.add_command(_imported(cmd_name), cmd_name)
        return super().get_command(ctx, cmd_name)


def _imported(name: str) -> Any:
    module, attribute = COMMANDS[name].split(":")
    found = getattr(importlib.import_module(f"services.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    command = get_command(found)
    command.name = name
    return command


app = typer.Typer(
    name="threadmill",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"threadmill {importlib.metadata.version('threadmill')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Every Slack thread becomes a coding session. Begin with `threadmill dev`."""


def main() -> None:
    """Run the command line; what a person can do something about is one sentence, not a stack."""
    try:
        app()
    except TOLD as e:
        fail(str(e))
    except StreamFull as e:
        fail(f"the broker has no room, and nothing was stored ({e}); look at it: threadmill doctor --live")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
