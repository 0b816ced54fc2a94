"""Saving work: everything committed and pushed to the session's branch, or a plain word why not."""

import asyncio
from collections.abc import Callable

import structlog

from schemas.events import CommitPushed, Event, Notice
from schemas.people import Person
from services.worker.workspace import Author, Workspace, WorkspaceError

log = structlog.get_logger(__name__)

SAVE_SECONDS = 60.0


async def save(
    workspace: Workspace, person: Person, title: str, turn: int, fence: Callable[[], bool]
) -> tuple[Event, ...]:
    """Commit and push what is new; return what the thread should hear of it, whatever goes wrong."""
    try:
        return await _save(workspace, person, title, turn, fence)
    except Exception as e:  # whatever it is, the turn has its end to be written, and the work another save
        log.exception("the work could not be saved", branch=workspace.branch, turn=turn)
        told = f"The work could not be saved ({type(e).__name__})."
        return (Notice(turn=turn, level="error", text=told),)


async def _save(
    workspace: Workspace, person: Person, title: str, turn: int, fence: Callable[[], bool]
) -> tuple[Event, ...]:
    deadline = asyncio.get_running_loop().time() + SAVE_SECONDS
    author = Author(name=person.name or person.id, id=person.id)
    try:
        commit = await workspace.autosave(author, title, deadline=deadline)
    except WorkspaceError as e:
        return (Notice(turn=turn, level="error", text=f"The work could not be committed: {e}"),)
    if commit is None:
        return ()
    told: list[Event] = []
    if commit.problem:
        told.append(Notice(turn=turn, level="warning", text=commit.problem))
    push = await workspace.push(fence, deadline=deadline)
    if push.ok:
        told.append(
            CommitPushed(
                turn=turn,
                branch=workspace.branch,
                sha=push.sha or commit.sha,
                title=commit.subject,
                files=commit.files,
                insertions=commit.insertions,
                deletions=commit.deletions,
            )
        )
    else:
        told.append(Notice(turn=turn, level="error", text=f"The work could not be pushed: {push.problem}"))
    return tuple(told)
