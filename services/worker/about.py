"""The session in words, for its agent: pure."""

from collections.abc import Iterable

from schemas.keys import SessionKey
from schemas.people import Person
from services.worker.core import name_of
from services.worker.workspace import Workspace


def about(
    key: SessionKey, workspace: Workspace | None, people: Iterable[Person], seconds_left: int | None
) -> str:
    """Return where the session runs, on what, for whom, and for how long its turn still may."""
    lines = [f"Slack thread: team {key.team}, channel {key.channel}, thread {key.thread_ts} (session {key})"]
    lines.append("People: " + ", ".join(dict.fromkeys(map(name_of, people))))
    if workspace:
        lines.append(f"Repository: {workspace.git.remote.url}, in {workspace.path}")
        lines.append(f"Branch: {workspace.branch}, which began at {workspace.base}")
    if seconds_left is not None:
        lines.append(f"Time left for this turn: {seconds_left // 60} min {seconds_left % 60} s")
    return "\n".join(lines)
