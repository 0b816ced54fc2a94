"""`delete`: all that was kept of a session, gone for good."""

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from schemas.archive import DELETIONS, Deleted, DeleteSession, Refused
from schemas.keys import SessionKey
from services.cli.place import Data, connected, operator, parsed_key
from services.cli.words import fail, out

# Objects go one after the other; what was not done by then, the same command goes on with.
DELETE_SECONDS = 120.0


def delete(
    session: Annotated[
        SessionKey,
        typer.Argument(
            parser=parsed_key, metavar="KEY", help="The session, as `threadmill sessions` names it."
        ),
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking first.")] = False,
    data: Data = None,
) -> None:
    """Delete all that was kept of a session: its transcript, its log, its place in the list.

    What stands in Slack and in git stays, and so does the audit trail, which tells who deleted it.
    """
    found = uvloop.run(_ask(session, data, dry_run=True))
    if not (found.objects or found.messages):
        # Of one that was cut off, the last step may be left.
        uvloop.run(_ask(session, data, dry_run=dry_run))
        fail(f"nothing is kept of {session}; `threadmill sessions` lists what there is")
    if dry_run:
        out.print(f"would delete {_told(found)}", soft_wrap=True)
        return
    if not yes:
        _confirm(found)
    out.print(f"deleted {_told(uvloop.run(_ask(session, data, dry_run=False)))}", soft_wrap=True)


def _confirm(found: Deleted) -> None:
    if not sys.stdin.isatty():
        fail(f"this would delete {_told(found)}; say --yes to do so without being asked")
    typer.confirm(f"Delete {_told(found)}?", abort=True)


async def _ask(key: SessionKey, data: Path | None, *, dry_run: bool) -> Deleted:
    request = DeleteSession(session=str(key), by=operator(), dry_run=dry_run)
    async with connected(data) as bus:
        answer = DELETIONS.decode(await bus.request(request.subject(), request, deadline=DELETE_SECONDS))
    if not isinstance(answer, Deleted):
        other = "the archiver is of another version; update this one"
        fail(answer.reason if isinstance(answer, Refused) else other)
    return answer


def _told(what: Deleted) -> str:
    told = f"{what.session}: {what.messages} messages of the log, {what.objects} objects of the archive"
    if what.recoverable_until:
        told += f", which the bucket can bring back until {what.recoverable_until:%d %b %Y}"
    return told
