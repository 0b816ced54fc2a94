"""How git gets a secret: asked through GIT_ASKPASS, answered from an inherited pipe, for one remote alone.

The secret is in memory and in the pipe, never in an argument, an environment, a configuration file or on disk.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec

from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.remote import BasicAuth, Remote

# Called before each command that talks to the remote; raises `WorkspaceError` when there is no token to be had.
Credential = Callable[[], Awaitable[BasicAuth]]

# The pipe holds the user name and the password, one per line, in the order in which git asks for them.
ASKPASS = """#!/bin/sh
case "$1" in
  "Username for '$THREADMILL_ASKPASS_SCHEME://$THREADMILL_ASKPASS_HOST': ") ;;
  "Password for '$THREADMILL_ASKPASS_SCHEME://"*"@$THREADMILL_ASKPASS_HOST': ") ;;
  *) exit 1 ;;
esac
IFS= read -r answer < "/dev/fd/$THREADMILL_ASKPASS_FD" && printf '%s\\n' "$answer"
"""


class Askpass(msgspec.Struct, frozen=True):
    """What a git process needs to be answered: its environment and the descriptors to inherit."""

    env: dict[str, str] = {}
    fds: tuple[int, ...] = ()


def credential_for(remote: Remote, given: Credential | None) -> Credential | None:
    """Return who answers for `remote`: the caller's credential before what stood in the URL; None when nobody does."""
    if remote.scheme not in {"http", "https"}:
        return None
    if given is not None or remote.auth is None:
        return given
    found = remote.auth

    async def from_url() -> BasicAuth:
        return found

    return from_url


@contextmanager
def askpass(remote: Remote, auth: BasicAuth | None) -> Iterator[Askpass]:
    """Offer `auth` to one git process. Without it git is told nothing and fails instead of asking."""
    if auth is None:
        yield Askpass()
        return
    lines = f"{auth.username}\n{auth.password}\n".encode()
    if lines.count(b"\n") != 2 or len(lines) > 4096:
        raise WorkspaceError(
            "The credential for this repository is not usable: it has several lines or is too long."
        )
    reader, writer = os.pipe()
    try:
        os.write(writer, lines)
    finally:
        os.close(writer)
    names = {"SCHEME": remote.scheme, "HOST": remote.host, "FD": str(reader)}
    try:
        yield Askpass({f"THREADMILL_ASKPASS_{name}": value for name, value in names.items()}, (reader,))
    finally:
        os.close(reader)
