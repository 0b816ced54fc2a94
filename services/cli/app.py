"""The commands put together."""

import importlib.metadata
from typing import Annotated

import typer

from services.cli import dead, decode, dev, doctor, run, slack, talk, transcripts
from services.cli.words import fail
from services.local.broker import BrokerError
from services.local.guard import NotLoopbackError
from services.local.home import HomeError
from services.local.server import PortError
from services.runtime.errors import SettingsError, Unavailable

app = typer.Typer(
    name="threadmill",
    help="Turns every Slack thread into a coding session. Begin with `threadmill dev`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(dev.dev)
app.command()(dev.sim)
app.command()(run.run)
app.command()(talk.send)
app.command()(talk.tail)
app.command()(transcripts.sessions)
app.command()(transcripts.transcript)
app.command()(decode.decode)
app.command()(doctor.doctor)
app.add_typer(dead.app, name="dead")
app.add_typer(slack.app, name="slack")

# What a command may raise whose text is already the one sentence with the way out.
TOLD = (HomeError, PortError, BrokerError, NotLoopbackError, SettingsError, Unavailable)


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
    """Threadmill."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except TOLD as e:
        fail(str(e))
