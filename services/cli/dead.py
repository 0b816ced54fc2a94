"""`dead`: letters that could not be delivered."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from schemas.operations import DeadLetter
from services.cli.place import Data, connected
from services.cli.words import fail, out
from services.runtime.bus import EXPECT_SEQUENCE, EXPECT_SUBJECT, TTL
from services.runtime.follow import read

app = typer.Typer(
    help="What could not be processed: look at it, and send it again.",
    no_args_is_help=True,
    add_completion=False,
)

Number = Annotated[
    int, typer.Argument(help="The letter's number, as `threadmill dead list` shows it.", min=1)
]
# A replay is a message of its own: what fenced or timed the first one does not bind it.
LEFT_OUT = {EXPECT_SEQUENCE, EXPECT_SUBJECT, TTL, "Nats-Msg-Id"}


@app.command("list")
def list_letters(data: Data = None) -> None:
    """List the dead letters."""
    letters = uvloop.run(_letters(data))
    if not letters:
        out.print("no dead letters")
        return
    table = Table("number", "at", "service", "from", "reason", box=None, header_style="dim", pad_edge=False)
    for number, letter in letters:
        at = f"{letter.at.astimezone():%d %b %H:%M:%S}"
        table.add_row(str(number), at, letter.service, escape(letter.origin), escape(letter.reason))
    out.print(table)


async def _letters(data: Path | None) -> list[tuple[int, DeadLetter]]:
    async with connected(data) as bus:
        return [
            (found.sequence, DeadLetter.decode(found.data))
            for found in await read(bus, "DEADLETTER", ["dead.>"])
        ]


@app.command()
def show(number: Number, data: Data = None) -> None:
    """Show one letter whole."""
    letter = uvloop.run(_letter(number, data))
    typer.echo(msgspec.json.format(msgspec.json.encode(letter), indent=2).decode())


async def _letter(number: int, data: Path | None) -> DeadLetter:
    async with connected(data) as bus:
        stored = await bus.at("DEADLETTER", number)
    if stored is None:
        fail(f"there is no letter {number}; `threadmill dead list` shows what there is")
    return DeadLetter.decode(stored.data)


@app.command()
def replay(number: Number, data: Data = None) -> None:
    """Send one letter again to where it came from, and remove it from the dead ones."""
    sequence = uvloop.run(_replay(number, data))
    out.print(f"sent again as message {sequence}")


async def _replay(number: int, data: Path | None) -> int:
    letter = await _letter(number, data)
    payload = letter.payload.encode() if letter.payload is not None else (letter.payload_base64 or b"")
    headers = {name: value for name, value in letter.headers.items() if name not in LEFT_OUT}
    async with connected(data) as bus:
        sequence = await bus.publish_raw(
            letter.origin, payload, headers | {"Nats-Msg-Id": f"replay/{number}"}
        )
        await bus.api("STREAM.MSG.DELETE.DEADLETTER", {"seq": number})
    return sequence
