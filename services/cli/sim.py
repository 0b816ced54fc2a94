"""`sim`: the Slack simulator alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from services.cli.dev import Host
from services.cli.place import default_data
from services.cli.signals import until_told
from services.cli.words import err
from services.local.home import Home
from services.runtime.log import configure_logging

if TYPE_CHECKING:
    from services.local.slack.app import Simulator
    from services.local.slack.model import Credentials


def sim(
    *,
    port: Annotated[int, typer.Option(help="The page's port; 0 takes a free one.", min=0, max=65535)] = 8701,
    host: Host = "127.0.0.1",
    data: Annotated[
        Path | None,
        typer.Option(help="Where the workspace is kept.", envvar="THREADMILL_DATA"),
    ] = None,
    deliver_to: Annotated[
        str | None,
        typer.Option(help="Deliver events to the ingress at this URL, instead of by Socket Mode."),
    ] = None,
    bot_token: Annotated[
        str | None,
        typer.Option(help="The bot's token, else a random one.", envvar="THREADMILL_SIM_BOT_TOKEN"),
    ] = None,
    app_token: Annotated[
        str | None,
        typer.Option(help="The app's token, else a random one.", envvar="THREADMILL_SIM_APP_TOKEN"),
    ] = None,
) -> None:
    """Run the Slack simulator alone, beside services that `run` started.

    What ingress needs to find it, and its tokens, are written into a file to source; its name is printed.
    """
    configure_logging("sim", form="text", level="WARNING")
    credentials = _given(bot_token, app_token)
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(_sim((data or default_data()) / "sim", host, port, deliver_to, credentials))


def _given(bot_token: str | None, app_token: str | None) -> "Credentials | None":
    """Tokens that were agreed on beforehand, as in a cluster, where ingress has them from a Secret."""
    from services.local.slack.model import Credentials  # noqa: PLC0415 (an image may lack its libraries)

    if not (bot_token or app_token):
        return None
    fresh = Credentials.fresh()
    return Credentials(
        bot_token=bot_token or fresh.bot_token,
        app_token=app_token or fresh.app_token,
        signing_secret=fresh.signing_secret,
    )


async def _sim(
    data: Path, host: str, port: int, deliver_to: str | None, credentials: "Credentials | None"
) -> None:
    async with until_told(_running_sim(data, host, port, deliver_to, credentials)) as (url, stop):
        typer.echo(f"ready {url}/")
        err.print(f"for ingress: set -a; . {data / 'slack.env'}; threadmill run ingress", soft_wrap=True)
        await stop.wait()


@contextlib.asynccontextmanager
async def _running_sim(
    data: Path, host: str, port: int, deliver_to: str | None, credentials: "Credentials | None"
) -> AsyncIterator[str]:
    from services.local.page import routes  # noqa: PLC0415 (an image may lack its libraries)
    from services.local.server import listen, url_of  # noqa: PLC0415 (as above)
    from services.local.slack.app import Simulator  # noqa: PLC0415 (as above)

    home = Home(data)
    with home.occupied():
        simulator = Simulator(persist=data / "slack.json", credentials=credentials)
        simulator.app.add_routes(routes())
        simulator.deliver_to(deliver_to)
        runner, bound = await listen(simulator.app, host, port)
        url = url_of(host, bound)
        await simulator.start()
        try:
            home.keep("slack.env", _credentials(simulator, url, http=deliver_to is not None))
            yield url
        finally:
            await simulator.stop()
            await runner.cleanup()


def _credentials(simulator: "Simulator", url: str, *, http: bool) -> str:
    way = (
        f"SLACK_SIGNING_SECRET={simulator.signing_secret}"
        if http
        else f"SLACK_APP_TOKEN={simulator.app_token}"
    )
    return f"SLACK_BOT_TOKEN={simulator.bot_token}\n{way}\nTHREADMILL_SLACK_API_URL={url}/api/\n"
