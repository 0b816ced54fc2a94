"""`dev`: all of Threadmill on this machine."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
import uvloop

from services.cli.place import default_data
from services.cli.signals import until_told
from services.cli.words import err, fail
from services.local.ground import DevSettings
from services.runtime.log import configure_logging
from services.runtime.redact import Redaction, secrets_in
from services.runtime.settings import load
from services.scheduler.settings import SchedulerSettings

if TYPE_CHECKING:
    from services.local.dev import Dev

Port = Annotated[int, typer.Option(help="The page's port; 0 takes a free one.", min=0, max=65535)]
Host = Annotated[
    str, typer.Option(help="Where to listen: a loopback address only, because nobody logs in here.")
]


def dev(
    *,
    port: Port = 8700,
    host: Host = "127.0.0.1",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Where everything is kept; by default ~/.local/share/threadmill.", envvar="THREADMILL_DATA"
        ),
    ] = None,
    agent: Annotated[
        Literal["claude", "acp", "recorded"] | None,
        typer.Option(help="Who works; by default claude where a model can be reached, else recorded."),
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(help="The git URL or path to work on; by default each person gets a repository."),
    ] = None,
    warm: Annotated[
        int | None, typer.Option(help="How many workers wait for work.", min=0, show_default="1")
    ] = None,
    max_workers: Annotated[
        int | None, typer.Option(help="How many workers there may be.", min=1, show_default="4")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the services log.")] = False,
) -> None:
    """Run all of Threadmill here, with a Slack workspace to talk in.

    With SLACK_BOT_TOKEN and SLACK_APP_TOKEN it connects to the real Slack instead. Ctrl-C stops everything; the
    next start goes on where this one was.
    """
    configure_logging(
        "dev",
        form="text",
        level="INFO" if verbose else "WARNING",
        redaction=Redaction(secrets_in(os.environ)),
    )
    settings = DevSettings(
        data=data or default_data(),
        environ=dict(os.environ),
        host=host,
        port=port,
        agent=agent,
        repo=_repo(repo) if repo else None,
        scheduler=_rules(warm, max_workers),
    )
    try:
        uvloop.run(_dev(settings))
    except asyncio.CancelledError:
        err.print("stopped before it was ready; nothing is left running")


def _rules(warm: int | None, max_workers: int | None) -> SchedulerSettings:
    rules = load(SchedulerSettings, os.environ, prefix="THREADMILL_SCHEDULER_")
    most = rules.max_workers if max_workers is None else max_workers
    waiting = min(rules.warm if warm is None else warm, most)
    return msgspec.structs.replace(rules, warm=waiting, max_workers=most)


def _repo(repo: str) -> str:
    path = Path(repo).expanduser()
    if path.exists():
        if not ((path / ".git").exists() or (path / "HEAD").is_file()):
            fail(f"{path} is no git repository; name one, or make it one with `git init`")
        return str(path.absolute())
    if ":" not in repo:
        fail(f"there is no repository at {repo}; name a folder, or a URL such as https://host/team/project")
    return repo


async def _dev(settings: DevSettings) -> None:
    from services.local.dev import running_dev  # noqa: PLC0415 (all services: an image may lack their libraries)

    async with until_told(running_dev(settings)) as (running, stop):
        _greet(running)
        await running.parts.until(stop)
        err.print("stopping: workers save and hand over ...")
    err.print("stopped; nothing is left running")


def _greet(running: "Dev") -> None:
    typer.echo(f"ready {running.url}/")
    choice = running.ground.choice
    err.print(
        f"agent {choice.agent}, everything is kept in {running.ground.home.path}, Ctrl-C stops",
        soft_wrap=True,
        markup=False,
    )
    if choice.hint:
        err.print(choice.hint, style="yellow", soft_wrap=True, markup=False)
