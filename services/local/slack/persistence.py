"""Keeps a workspace in one file: written whole or not at all, readable by its owner alone."""

import os
from pathlib import Path

import msgspec

from services.local.slack.model import State


class UnreadableWorkspaceError(Exception):
    """The kept workspace cannot be read. The text says what to do."""


def load(path: Path) -> State | None:
    """The kept workspace, None if there is none. Raises UnreadableWorkspaceError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as e:
        raise UnreadableWorkspaceError(
            f"{path} is not a kept workspace ({e}); move it away to begin anew."
        ) from e


def save(path: Path, state: State) -> None:
    """Put the workspace into its file in one step."""
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        target.write(msgspec.json.encode(state))
        target.flush()
        os.fsync(target.fileno())
    draft.replace(path)
