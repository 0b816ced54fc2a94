"""`sessions` and `transcript`: what there is, and what was said."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from schemas.archive import PAGES, LogPage, ReadLog, Refused
from schemas.buckets import Summary
from schemas.bus import SUMMARIES
from schemas.keys import SessionKey
from services.cli import markdown, story
from services.cli.place import Data, connected, operator, parsed_key
from services.cli.words import err, fail, out
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.runtime.pull import Delivery

Form = Literal["text", "md", "jsonl"]

# With the archiver's own patience, half a minute.
TRIES = 6
AGAIN_SECONDS = 1.0


def sessions(
    *,
    user: Annotated[str | None, typer.Option(help="Only the sessions that this person began.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_keys: Annotated[bool, typer.Option("--keys", help="One key a line.")] = False,
    data: Data = None,
) -> None:
    """List the sessions, the latest first."""
    found = [one for one in uvloop.run(_sessions(data)) if user in (None, one[1].user.id)]
    found.sort(key=lambda one: one[1].updated_at, reverse=True)
    if as_keys or as_json:
        for key, summary in found:
            told = msgspec.json.encode({"session": key} | msgspec.to_builtins(summary)).decode()
            typer.echo(key if as_keys else told)
        return
    nothing = f"no sessions that {user} began" if user else "no sessions yet"
    out.print(_table(found) if found else f"{nothing}: write to the bot in a thread, or `threadmill send`")


async def _sessions(data: Path | None) -> list[tuple[str, Summary]]:
    async with connected(data) as bus:
        entries = await Bucket(bus, SUMMARIES.name, Summary).entries()
    return [(entry.key, entry.value) for entry in entries if entry.value]


def _table(found: list[tuple[str, Summary]]) -> Table:
    # A key is for copying: the terminal may wrap a branch, never a key.
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("session", no_wrap=True, min_width=max(len(key) for key, _ in found))
    for name in ("status", "turns", "USD"):
        table.add_column(name, no_wrap=True)
    table.add_column("last")
    table.add_column("branch", overflow="fold")
    for key, summary in found:
        last = f"{summary.updated_at.astimezone():%d %b %H:%M} {summary.last_outcome}"
        table.add_row(
            key, summary.status, str(summary.turns), f"{summary.cost_usd:.2f}", last, summary.branch
        )
    return table


class Record(msgspec.Struct):
    """What a transcript reads of an archived message."""

    subject: str
    time: datetime
    payload: msgspec.Raw = msgspec.Raw(b"null")


def transcript(
    session: Annotated[
        SessionKey,
        typer.Argument(
            parser=parsed_key, metavar="KEY", help="The session, as `threadmill sessions` names it."
        ),
    ],
    *,
    form: Annotated[
        Form, typer.Option("--format", help="For a terminal, as Markdown, or every event as JSON.")
    ] = "text",
    data: Data = None,
) -> None:
    """Print a session from its first word to its last.

    The archive is read first, then what is still in the stream. The audit trail tells who read it, and whether as a
    document or for programs.
    """
    if not uvloop.run(_transcript(session, form, data)):
        fail(f"nothing is known of {session}; `threadmill sessions` lists what there is")


async def _transcript(key: SessionKey, form: Form, data: Path | None) -> int:
    count = 0
    async with connected(data) as bus:
        async for raw in _records(bus, key, export=form != "text"):
            count += 1
            _print(raw, form)
    return count


def _print(raw: bytes, form: Form) -> None:
    if form == "jsonl":
        typer.echo(raw.decode())
        return
    record = msgspec.json.decode(raw, type=Record)
    message = story.message_of(record.subject, record.payload)
    if form == "md":
        if part := markdown.part(message, record.time):
            typer.echo(part + "\n")
    elif line := story.line(message, record.time):
        out.print(line, soft_wrap=True)


async def _records(bus: Bus, key: SessionKey, *, export: bool) -> AsyncIterator[bytes]:
    request = ReadLog(session=str(key), by=operator(), export=export, reading=secrets.token_hex(8))
    after, more = 0, True
    while more:
        page = await _page(bus, msgspec.structs.replace(request, after=after))
        for raw in page.records:
            yield bytes(raw)
        after, more = max(after, page.through), page.more
    for delivery in await read(bus, "SESSIONS", [f"session.{key}.>"], after=after):
        yield _as_archived(delivery)


async def _page(bus: Bus, request: ReadLog) -> LogPage:
    tries = 1
    while True:
        answer = PAGES.decode(await bus.request(request.subject(), request))
        match answer:
            case LogPage():
                return answer
            case Refused(reason=reason, later=True) if tries < TRIES:
                err.print(f"[dim]{escape(reason)} (trying again)[/dim]", soft_wrap=True)
                await asyncio.sleep(AGAIN_SECONDS)
                tries += 1
            case Refused(reason=reason):
                fail(reason)
            case _:
                fail("the archiver is of another version; update this one")


def _as_archived(delivery: Delivery) -> bytes:
    record = {
        "seq": delivery.sequence,
        "subject": delivery.subject,
        "time": datetime.fromtimestamp(delivery.timestamp, UTC),
        "headers": dict(delivery.headers),
    }
    try:
        return msgspec.json.encode(record | {"payload": msgspec.json.decode(delivery.data)})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode(record | {"payload_base64": delivery.data})
