"""`dead`: letters that could not be delivered. A worker may write such a letter, and so may whoever took one over."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from schemas.base import HEADER_ID, HEADER_SCHEMA, HEADER_SESSION, MalformedMessage
from schemas.bus import stream_of
from schemas.operations import DeadLetter
from services.cli.place import Data, connected
from services.cli.words import fail, out
from services.runtime.bus import Bus
from services.runtime.follow import read
from services.runtime.pull import Delivery

app = typer.Typer(
    help="What could not be processed: look at it, and send it again.",
    no_args_is_help=True,
    add_completion=False,
)

Number = Annotated[
    int, typer.Argument(help="The letter's number, as `threadmill dead list` shows it.", min=1)
]
# A replay is a message of its own: what else a letter names, such as a fence, would be obeyed by the broker.
PASSED_ON = {HEADER_SCHEMA, HEADER_SESSION, "Content-Type", "traceparent", "tracestate"}


@app.command("list")
def list_letters(data: Data = None) -> None:
    """List the dead letters."""
    letters = uvloop.run(_letters(data))
    if not letters:
        out.print("no dead letters")
        return
    table = Table("number", "at", "service", "from", "reason", box=None, header_style="dim", pad_edge=False)
    for found in letters:
        table.add_row(*map(escape, _row(found)))
    out.print(table)


async def _letters(data: Path | None) -> list[Delivery]:
    async with connected(data) as bus:
        return await read(bus, "DEADLETTER", ["dead.>"])


def _row(found: Delivery) -> tuple[str, ...]:
    at = f"{datetime.fromtimestamp(found.timestamp, UTC).astimezone():%d %b %H:%M:%S}"
    service, _, origin = found.subject.removeprefix("dead.").partition(".")
    try:
        reason = DeadLetter.decode(found.data).reason
    except MalformedMessage as e:
        reason = f"unreadable: {e}"
    return str(found.sequence), at, service, origin, reason


@app.command()
def show(number: Number, data: Data = None) -> None:
    """Show one letter whole."""
    _, letter = uvloop.run(_letter(number, data))
    typer.echo(msgspec.json.format(msgspec.json.encode(letter), indent=2).decode())


async def _letter(number: int, data: Path | None) -> tuple[str, DeadLetter]:
    """Return a letter, and under which subject it lies."""
    async with connected(data) as bus:
        stored = await bus.at("DEADLETTER", number)
    if stored is None:
        fail(f"there is no letter {number}; `threadmill dead list` shows what there is")
    try:
        return stored.subject, DeadLetter.decode(stored.data)
    except MalformedMessage as e:
        fail(f"the letter {number} cannot be read: {e}")


@app.command()
def replay(number: Number, data: Data = None) -> None:
    """Send one letter again to where it came from, and remove it from the dead ones."""
    sequence = uvloop.run(_replay(number, data))
    out.print(f"sent again as message {sequence}")


async def _replay(number: int, data: Path | None) -> int:
    subject, letter = await _letter(number, data)
    # The broker guards who writes under which subject, and nothing of what the letter says.
    if subject.split(".", 2) != ["dead", letter.service, letter.origin]:
        fail(f"the letter {number} lies under {subject}, and is not sent elsewhere, as it asks: it is forged")
    headers = {name: value for name, value in letter.headers.items() if name in PASSED_ON}
    async with connected(data) as bus:
        payload = await _payload(bus, letter)
        if payload is None:
            fail(f"the letter {number} stays: it was too large to keep, and {letter.origin} has lost it")
        sequence = await bus.publish_raw(letter.origin, payload, headers | {HEADER_ID: f"replay/{number}"})
        await bus.api("STREAM.MSG.DELETE.DEADLETTER", {"seq": number})
    return sequence


async def _payload(bus: Bus, letter: DeadLetter) -> bytes | None:
    """Return what the letter is about; what was too large for it is still where it came from, or nowhere: None."""
    if letter.payload is not None:
        return letter.payload.encode()
    if letter.payload_base64 is not None:
        return letter.payload_base64
    try:
        stored = await bus.at(stream_of(letter.origin), letter.sequence)
    except KeyError:
        return None
    return stored.data if stored and stored.subject == letter.origin else None
