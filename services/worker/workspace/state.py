"""What a workspace remembers about itself, in `.git/threadmill/session.json`: the agent can write there, so all is checked."""

from pathlib import Path
from typing import Annotated

import msgspec

from services.worker.workspace.errors import WorkspaceError

Sha = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{40}|[0-9a-f]{64})?$")]
NOT_OURS = "This folder is not this session's workspace; give the session an empty folder."


class State(msgspec.Struct, kw_only=True):
    """Whose workspace this is.

    `base` is the remote's default branch. `start` is the commit that the session's branch began at and `saved` the one
    that the remote's branch was last seen to have and that is part of this work; both empty when there is none.
    """

    url: str
    thread: str
    base: str = ""
    start: Sha = ""
    saved: Sha = ""
    setup_done: bool = False

    @property
    def since(self) -> str:
        """Return the commit after which work is new, or the empty string."""
        return self.saved or self.start


def load(git_dir: Path, *, url: str, thread: str) -> State:
    """Read the state of this session's workspace. Raises `WorkspaceError` when the folder is another's."""
    try:
        state = msgspec.json.decode(_file(git_dir).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError) as e:
        raise WorkspaceError(NOT_OURS) from e
    if (state.url, state.thread) != (url, thread):
        raise WorkspaceError(NOT_OURS)
    return state


def store(git_dir: Path, state: State) -> None:
    """Write the state whole or not at all. Raises `WorkspaceError`."""
    target = _file(git_dir)
    fresh = target.with_suffix(".new")
    try:
        target.parent.mkdir(exist_ok=True)
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.replace(target)
    except OSError as e:
        raise WorkspaceError(f"The workspace's git directory cannot be written: {e.strerror}.") from e


def _file(git_dir: Path) -> Path:
    return git_dir / "threadmill" / "session.json"
