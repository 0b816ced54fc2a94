"""`instructions`: what every agent that works for a channel or a person is told."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from schemas.buckets import Preferences
from schemas.bus import PREFERENCES
from schemas.keys import InvalidKey
from schemas.operations import Audited
from services.cli.place import Data, connected, operator
from services.cli.words import err, fail
from services.runtime.audit import audit
from services.runtime.bucket import Bucket
from services.runtime.bus import Bus
from services.runtime.errors import Conflict

# An agent reads them at each start, ahead of its task.
MOST_CHARACTERS = 8_000

Whose = Annotated[str, typer.Argument(metavar="TEAM.ID", help="A channel or a person: T1.C1, T1.U1.")]
Text = Annotated[
    str | None, typer.Argument(help="The new instructions; without them the present ones are shown.")
]


def instructions(
    whose: Whose,
    text: Text = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Take them away.")] = False,
    data: Data = None,
) -> None:
    """Show or set what every agent is told that works for a channel or a person.

    threadmill instructions T1.C1 "Answer in German, and never touch the generated files."
    """
    key = _key(whose)
    if clear and text is not None:
        fail("give new instructions, or --clear, not both")
    if text is None and not clear:
        typer.echo(uvloop.run(_shown(key, data)) or "no instructions")
        return
    if len(text or "") > MOST_CHARACTERS:
        fail(
            f"instructions have at most {MOST_CHARACTERS:,} characters; keep the rest in the repository's CLAUDE.md"
        )
    uvloop.run(_set(key, "" if clear else text or "", data))
    done = f"{key} has no instructions any more" if clear or not text else f"{key} has new instructions"
    err.print(f"{done}; the next agent that starts there is told")


def _key(whose: str) -> str:
    team, _, of = whose.partition(".")
    try:
        return Preferences.key(team, of)
    except InvalidKey as e:
        raise typer.BadParameter(
            "write the workspace and the channel or person, such as T1.C1 or T1.U1"
        ) from e


async def _shown(key: str, data: Path | None) -> str:
    async with connected(data) as bus:
        entry = await Bucket(bus, PREFERENCES.name, Preferences).get(key)
    return entry.value.instructions if entry.value else ""


async def _set(key: str, text: str, data: Path | None) -> None:
    async with connected(data) as bus:
        bucket = Bucket(bus, PREFERENCES.name, Preferences)
        revision = (await bucket.get(key)).revision
        await _audit(bus, key, text, revision)
        try:
            await bucket.put(key, Preferences(instructions=text), revision)
        except Conflict:
            fail("somebody else changed them in the same moment; look at them, and set them again")


async def _audit(bus: Bus, key: str, text: str, revision: int) -> None:
    changed = Audited(
        team=key.partition(".")[0],
        who=operator(),
        did="changed",
        session=key,
        detail=f"instructions: {text}" if text else "instructions taken away",
    )
    # The same words in the place of the same ones are one change.
    words = hashlib.sha256(f"{changed.who}\0{text}".encode()).hexdigest()[:16]
    await audit(bus, changed, once=f"{revision}.{words}")
