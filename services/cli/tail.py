"""`tail`: watch what happens, in a terminal."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop
from nats.aio.msg import Msg

from schemas import live
from schemas.base import MalformedMessage
from schemas.keys import SessionKey
from schemas.operations import EVERY_TEAM, Audited
from services.cli import story
from services.cli.place import Data, connected, operator, parsed_key
from services.cli.words import err, out
from services.runtime.audit import audit
from services.runtime.bus import Bus
from services.runtime.follow import Follow
from services.runtime.pull import Delivery

LEAVES = ("in.*", "control", "out", "end.*")


def tail(
    session: Annotated[
        SessionKey | None,
        typer.Argument(
            parser=parsed_key,
            metavar="[KEY]",
            help="The session, from its beginning; all of them without it.",
        ),
    ] = None,
    *,
    data: Data = None,
) -> None:
    """Watch what happens, live: one session from its beginning, or every session from now on.

    The audit trail tells who watched.
    """
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_tail(session, data))


async def _tail(session: SessionKey | None, data: Path | None) -> None:
    key = str(session) if session else "*.*.*"
    start: Literal["all", "new"] = "all" if session else "new"
    async with connected(data) as bus:
        await _audit(bus, session)
        if out.is_terminal:
            await bus.client.subscribe(f"live.{key}", cb=_show_live)
        filters = [f"session.{key}.{leaf}" for leaf in LEAVES]
        watching = False
        async for delivery in Follow(bus, "SESSIONS", filters, start=start).deliveries():
            if delivery:
                _show(delivery, named=session is None)
            elif not watching:
                watching = True
                err.print("[dim]watching; Ctrl-C ends it[/dim]")


async def _audit(bus: Bus, session: SessionKey | None) -> None:
    team, whose = (session.team, str(session)) if session else (EVERY_TEAM, "")
    entry = Audited(team=team, who=operator(), did="read", session=whose, detail="tail")
    await audit(bus, entry, once=bus.new_id())


def _show(delivery: Delivery, *, named: bool) -> None:
    at = datetime.fromtimestamp(delivery.timestamp, UTC)
    if line := story.line(story.message_of(delivery.subject, delivery.data), at):
        name = f"[dim]{'.'.join(delivery.subject.split('.')[1:4])}[/dim] " if named else ""
        out.print(name + line, soft_wrap=True)


async def _show_live(message: Msg) -> None:
    with contextlib.suppress(MalformedMessage):
        told = live.LIVES.decode(message.data)
        if isinstance(told, live.Status):
            out.print(told.text, style="dim italic", markup=False)
