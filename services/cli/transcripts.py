"""`sessions` and `transcript`: what there is, and what was said."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from schemas.archive import LogPage, ReadLog
from schemas.buckets import Summary
from schemas.bus import SUMMARIES
from schemas.keys import InvalidKey, SessionKey
from services.cli import story
from services.cli.place import Data, connected
from services.cli.words import fail, out
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.follow import read


def sessions(
    *,
    user: Annotated[str | None, typer.Option(help="Only sessions of this person.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    data: Data = None,
) -> None:
    """List the sessions, the latest first."""
    found = [
        (key, summary) for key, summary in uvloop.run(_sessions(data)) if user in (None, summary.user.id)
    ]
    found.sort(key=lambda one: one[1].updated_at, reverse=True)
    if as_json:
        for key, summary in found:
            typer.echo(msgspec.json.encode({"session": key} | msgspec.to_builtins(summary)).decode())
        return
    out.print(
        _table(found) if found else "no sessions yet; write to the bot in a thread, or `threadmill send`"
    )


async def _sessions(data: Path | None) -> list[tuple[str, Summary]]:
    found: list[tuple[str, Summary]] = []
    async with (
        connected(data) as bus,
        contextlib.aclosing(Bucket(bus, SUMMARIES.name, Summary).watch()) as watch,
    ):
        async for entry in watch:
            if entry is None:
                break
            found += [(entry.key, entry.value)] if entry.value else []
    return found


def _table(found: list[tuple[str, Summary]]) -> Table:
    table = Table("session", "status", "turns", "USD", "branch", "last", box=None, header_style="dim")
    for key, summary in found:
        last = f"{summary.updated_at.astimezone():%d %b %H:%M} {summary.last_outcome}"
        cells = (str(summary.turns), f"{summary.cost_usd:.2f}", summary.branch, last)
        table.add_row(key, summary.status, *cells)
    return table


class _Record(msgspec.Struct):
    seq: int
    subject: str
    time: datetime
    payload: msgspec.Raw = msgspec.Raw(b"null")


def transcript(
    session: Annotated[str, typer.Argument(help="The session's key.")],
    *,
    form: Annotated[
        Literal["text", "md", "jsonl"], typer.Option("--format", help="How to print it.")
    ] = "text",
    data: Data = None,
) -> None:
    """Print a session from its first word to its last: the archive, then what is still in the stream."""
    try:
        key = SessionKey.parse(session)
    except InvalidKey as e:
        fail(f"{e}; `threadmill sessions` lists the keys")
    if not uvloop.run(_transcript(key, form, data)):
        fail(f"nothing is known of {key}; `threadmill sessions` lists what there is")


async def _transcript(key: SessionKey, form: str, data: Path | None) -> int:
    count = 0
    plain = Console(highlight=False, color_system=None, width=10_000)
    async with connected(data) as bus:
        async for raw in _records(bus, key):
            count += 1
            if form == "jsonl":
                typer.echo(raw.decode())
                continue
            record = msgspec.json.decode(raw, type=_Record)
            if line := story.line(story.message_of(record.subject, record.payload), record.time):
                (out if form == "text" else plain).print(
                    line if form == "text" else f"- {line}", soft_wrap=True
                )
    return count


async def _records(bus: Bus, key: SessionKey) -> AsyncIterator[bytes]:
    after, more = 0, True
    while more:
        page = LogPage.decode(await bus.request(ReadLog.subject(), ReadLog(session=str(key), after=after)))
        for raw in page.records:
            yield bytes(raw)
        after, more = max(after, page.through), page.more
    for delivery in await read(bus, "SESSIONS", [f"session.{key}.>"], after=after):
        record: dict[str, Any] = {
            "seq": delivery.sequence,
            "subject": delivery.subject,
            "time": datetime.fromtimestamp(delivery.timestamp).astimezone(),
            "headers": dict(delivery.headers),
            "payload": msgspec.Raw(delivery.data),
        }
        yield msgspec.json.encode(record)
