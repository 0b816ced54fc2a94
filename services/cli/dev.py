"""`dev` and `sim`: local mode."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop

from services.cli.place import default_data
from services.cli.words import err
from services.local.dev import Dev, running_dev
from services.local.ground import DevSettings
from services.local.home import Home
from services.local.page import routes
from services.local.server import listen
from services.local.slack.app import Simulator
from services.runtime.log import configure_logging
from services.scheduler.settings import SchedulerSettings

Port = Annotated[int, typer.Option(help="The port of the page; 0 takes a free one.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="A loopback address; nobody logs in here, so no other is possible.")]


def dev(
    *,
    port: Port = 8700,
    host: Host = "127.0.0.1",
    data: Annotated[
        Path | None, typer.Option(help="Where everything is kept.", envvar="THREADMILL_DATA")
    ] = None,
    agent: Annotated[
        Literal["claude", "acp", "recorded"] | None,
        typer.Option(help="Who works; by default the best that can run here."),
    ] = None,
    repo: Annotated[
        str | None, typer.Option(help="A git URL or path; by default each person gets a repository.")
    ] = None,
    warm: Annotated[int, typer.Option(help="Workers that wait for work.", min=0)] = 1,
    max_workers: Annotated[int, typer.Option(help="The most workers at a time.", min=1)] = 4,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the services' logs.")] = False,
) -> None:
    """Run all of Threadmill on this machine, with a Slack workspace to talk in (or the real one: SLACK_* tokens)."""
    configure_logging("dev", form="text", level="INFO" if verbose else "WARNING")
    settings = DevSettings(
        data=data or default_data(),
        environ=dict(os.environ),
        host=host,
        port=port,
        agent=agent,
        repo=str(Path(repo).absolute()) if repo and Path(repo).exists() else repo,
        scheduler=SchedulerSettings(warm=min(warm, max_workers), max_workers=max_workers),
    )
    uvloop.run(_dev(settings))


async def _dev(settings: DevSettings) -> None:
    stop = _stop_on_signals()
    async with running_dev(settings) as running:
        _greet(running)
        await running.parts.until(stop)
        err.print("stopping: workers save and hand over ...")
    err.print("stopped; nothing is left running")


def _greet(running: Dev) -> None:
    typer.echo(f"ready {running.url}/")
    choice = running.ground.choice
    err.print(
        f"agent {choice.agent}, everything is kept in {running.ground.home.path}, Ctrl-C stops",
        soft_wrap=True,
    )
    if choice.hint:
        err.print(choice.hint, style="yellow", soft_wrap=True)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def sim(
    *,
    port: Port = 8701,
    host: Host = "127.0.0.1",
    data: Annotated[Path | None, typer.Option(help="Where the workspace is kept.")] = None,
    deliver_to: Annotated[
        str | None, typer.Option(help="Where ingress listens for HTTP; else Socket Mode only.")
    ] = None,
) -> None:
    """Run the Slack simulator alone; ingress finds it by THREADMILL_SLACK_API_URL."""
    configure_logging("sim", form="text", level="WARNING")
    uvloop.run(_sim(host, port, (data or default_data()) / "sim", deliver_to))


async def _sim(host: str, port: int, data: Path, deliver_to: str | None) -> None:
    stop = _stop_on_signals()
    with Home(data).occupied():
        simulator = Simulator(persist=data / "slack.json")
        simulator.app.add_routes(routes())
        simulator.deliver_to(deliver_to)
        runner, port = await listen(simulator.app, host, port)
        await simulator.start()
        try:
            typer.echo(f"ready http://{host}:{port}/")
            err.print(
                f"the bot token, app token and signing secret stand in {data / 'slack.json'}", soft_wrap=True
            )
            err.print(
                f"THREADMILL_SLACK_API_URL=http://{host}:{port}/api/ threadmill run ingress", soft_wrap=True
            )
            await stop.wait()
        finally:
            await simulator.stop()
            await runner.cleanup()
