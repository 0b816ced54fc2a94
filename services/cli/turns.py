"""`turns` and `leases`: what is open, who works on it, and what does not go on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from services.cli.place import Data, connected
from services.cli.standings import look, rules
from services.cli.words import out
from services.scheduler.settings import SchedulerSettings
from services.scheduler.stuck import Seen, State, Stuck, since, state_of

OnlyStuck = Annotated[
    bool,
    typer.Option("--stuck", help="Only what does not go on; the exit code is 1 when there is something."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
# What a person may do where nothing is stuck.
TODO: dict[State, str] = {
    "waiting": "it waits for a free worker",
    "starting": "a worker is on its way",
    "running": "let it work, or stop it in its thread",
    "lost": "another worker is on its way",
    "paused": "press Continue in its thread",
    "idle": "",
}


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session with something open or waiting; `queued` inputs wait behind the open turn. `stuck` says why it is."""

    session: str
    turn: int | None
    person: str
    attempt: int
    since: datetime | None
    deadline: datetime | None
    state: State
    queued: int
    stuck: str
    todo: str


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Who works on a session since when, and on which turn."""

    session: str
    holder: str
    since: datetime
    turn: int | None
    stuck: str
    todo: str


def turns(only_stuck: OnlyStuck = False, as_json: AsJson = False, data: Data = None) -> None:
    """Show the turns that are open and the inputs that wait, with what to do next.

    Stuck are turns past their deadline or without a worker for longer than a launch takes, and inputs that nothing
    takes; what waits for Continue is not.
    """
    by = rules()
    sessions, stuck = uvloop.run(_look(data, by))
    rows = [turn_row(key, seen, stuck.get(key), by) for key, seen in sessions.items() if not seen.memory.idle]
    _show(rows, "no turn is open", only_stuck=only_stuck, as_json=as_json)


def leases(only_stuck: OnlyStuck = False, as_json: AsJson = False, data: Data = None) -> None:
    """Show who works on which session.

    Stuck are leases that are still held long after the last turn of their session.
    """
    sessions, stuck = uvloop.run(_look(data, rules()))
    rows = [lease_row(key, seen, stuck.get(key)) for key, seen in sessions.items() if seen.lease]
    _show(rows, "nobody works", only_stuck=only_stuck, as_json=as_json)


async def _look(data: Path | None, by: SchedulerSettings) -> tuple[dict[str, Seen], dict[str, Stuck]]:
    async with connected(data) as bus:
        return await look(bus, by)


def turn_row(key: str, seen: Seen, stuck: Stuck | None, by: SchedulerSettings) -> TurnRow:
    """Return what the table says of a session. Pure."""
    turn, state = seen.memory.open, state_of(seen)
    who = turn.user if turn else seen.memory.waiting[0].user
    return TurnRow(
        session=key,
        turn=turn.turn if turn else None,
        person=who.name or who.id,
        attempt=turn.attempt if turn else 0,
        since=since(seen, by),
        deadline=turn.deadline if turn and turn.begun else None,
        state=state,
        queued=len(seen.memory.waiting),
        stuck=stuck.why if stuck else "",
        todo=stuck.todo if stuck else TODO[state],
    )


def lease_row(key: str, seen: Seen, stuck: Stuck | None) -> LeaseRow:
    """Return what the table says of a lease. Pure."""
    assert seen.lease is not None
    ours = stuck if stuck and stuck.what == "lease" else None
    turn = seen.memory.open
    return LeaseRow(
        session=key,
        holder=seen.lease.holder,
        since=seen.lease.since,
        turn=turn.turn if turn else None,
        stuck=ours.why if ours else "",
        todo=ours.todo if ours else "let it work" if turn else "it waits for its thread's next input",
    )


def _show(
    rows: Sequence[TurnRow] | Sequence[LeaseRow], nothing: str, *, only_stuck: bool, as_json: bool
) -> None:
    wanted = [row for row in rows if row.stuck or not only_stuck]
    if as_json:
        for row in wanted:
            typer.echo(msgspec.json.encode(row).decode())
    else:
        out.print(
            _table([msgspec.structs.asdict(row) for row in wanted])
            if wanted
            else _nothing(nothing, only_stuck)
        )
    if only_stuck and wanted:
        raise typer.Exit(1)


def _nothing(nothing: str, only_stuck: bool) -> str:
    return "nothing is stuck" if only_stuck else nothing


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in rows[0]:
        # A key is for copying: the terminal may wrap what to do, never a key.
        table.add_column("next" if name == "todo" else name, no_wrap=name != "todo")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone():%d %b %H:%M:%S}"
    return "" if value is None else escape(str(value))
