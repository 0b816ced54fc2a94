"""`audit`: who did what, for people and for a SIEM."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from schemas.base import HEADER_ID, MalformedMessage, now
from schemas.bus import AUDIT
from schemas.keys import InvalidKey, token
from schemas.operations import EVERY_TEAM, Audited
from services.cli.place import Data, connected
from services.cli.words import err, out
from services.runtime.bus import Bus
from services.runtime.follow import Follow

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# The broker itself knows a repetition for two minutes; this many entries back it is known here.
REMEMBERED = 10_000
WIDEST_DETAIL = 80


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One act, flat; the same `id` is the same act."""

    time: datetime
    team: str
    who: str
    did: str
    session: str
    detail: str
    id: str


def parsed_since(text: str) -> datetime:
    """Return the time that `text` names: `30m`, `2h`, `7d` ago, or a date or time. Raises `typer.BadParameter`."""
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII):
        return now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise typer.BadParameter("write how long ago, such as 2h or 7d, or a time such as 2026-01-31") from e


def parsed_team(text: str) -> str:
    """Return the workspace's id. Raises `typer.BadParameter`."""
    try:
        return token(text)
    except InvalidKey as e:
        raise typer.BadParameter("write the workspace's id, such as T1") from e


Team = Annotated[
    str | None,
    typer.Option(
        "--team",
        parser=parsed_team,
        metavar="TEAM",
        help="Only this workspace, and what concerns all of them.",
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=parsed_since, metavar="WHEN", help="From then on: 2h, 7d, 2026-01-31."),
]


def audit(
    *,
    team: Team = None,
    since: Since = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens next.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One flat JSON object a line.")] = False,
    data: Data = None,
) -> None:
    """Show who started, answered, stopped, continued, changed, read, exported, deleted what.

    With --follow each entry is a line as it comes. The same act has the same id, however often it was written down.
    """
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_audit(data, team, since, follow=follow, as_json=as_json))


async def _audit(
    data: Path | None, team: str | None, since: datetime | None, *, follow: bool, as_json: bool
) -> None:
    table = _table()
    async with connected(data) as bus:
        async for entry in _entries(bus, team, since, follow=follow):
            if as_json:
                typer.echo(msgspec.json.encode(entry).decode())
            elif follow:
                out.print("  ".join(_cells(entry)), soft_wrap=True)
            else:
                table.add_row(*_cells(entry))
    if table.row_count:
        out.print(table)
    elif not as_json:
        out.print("nothing was done")


async def _entries(
    bus: Bus, team: str | None, since: datetime | None, *, follow: bool
) -> AsyncIterator[Entry]:
    filters = [f"audit.{one}.>" for one in (team, EVERY_TEAM)] if team else ["audit.>"]
    following = Follow(bus, AUDIT.name, filters, start=since or "all")
    known: dict[str, None] = {}
    async with contextlib.aclosing(following.deliveries()) as deliveries:
        async for delivery in deliveries:
            if delivery is None:
                if not follow:
                    return
                continue
            entry = _entry(delivery.data, delivery.headers.get(HEADER_ID, ""), delivery.sequence)
            if entry and entry.id not in known:
                yield entry
                known[entry.id] = None
                if len(known) > REMEMBERED:
                    known.pop(next(iter(known)))


def _entry(payload: bytes, entry_id: str, sequence: int) -> Entry | None:
    try:
        told = Audited.decode(payload)
    except MalformedMessage as e:
        err.print(f"[yellow]entry {sequence} cannot be read:[/yellow] {escape(str(e))}", soft_wrap=True)
        return None
    return Entry(
        time=told.at,
        team=told.team,
        who=told.who,
        did=told.did,
        session=told.session,
        detail=told.detail,
        id=entry_id or f"{AUDIT.name}/{sequence}",
    )


def _table() -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("time", "team", "who", "did", "session", "detail"):
        table.add_column(name, no_wrap=name != "detail")
    return table


def _cells(entry: Entry) -> list[str]:
    detail = entry.detail if len(entry.detail) <= WIDEST_DETAIL else f"{entry.detail[:WIDEST_DETAIL]}..."
    at = f"{entry.time.astimezone():%d %b %H:%M:%S}"
    return [at, *map(escape, (entry.team, entry.who, entry.did, entry.session, " ".join(detail.split())))]
