"""The one runner of git: argument vectors, a deadline, our environment, no shell."""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from services.worker.workspace import locks, process
from services.worker.workspace.credentials import Credential, askpass, credential_for
from services.worker.workspace.errors import GitError, GitTimeoutError
from services.worker.workspace.home import Home
from services.worker.workspace.remote import Remote

MAX_OUTPUT = 32 * 1024 * 1024


class Output(msgspec.Struct, frozen=True):
    """What git printed, and how it ended."""

    code: int
    out: str
    err: str


class Git:
    """Runs git in one workspace with our own configuration, see `home`."""

    def __init__(self, remote: Remote, credential: Credential | None = None) -> None:
        self.remote = remote
        self._credential = credential_for(remote, credential)
        self._home = Home()
        self._env = self._home.env(os.environ)
        self._cwd = self._home.path

    def bind(self, workspace: Path) -> None:
        """Run in `workspace` from now on."""
        self._env |= self._home.bind(workspace, self.remote.url)
        self._cwd = workspace

    def close(self) -> None:
        """Remove our folder; nothing can run afterwards."""
        self._home.remove()

    async def connect(
        self,
        *args: str,
        deadline: float,
        ok: Collection[int] = (0,),
        progress: Callable[[str], None] | None = None,
    ) -> Output:
        """Run a command that talks to the remote, with its credential at hand."""
        auth = await self._credential() if self._credential else None
        with askpass(self.remote, auth) as asked:
            return await self.run(
                *args, deadline=deadline, ok=ok, progress=progress, env=asked.env, fds=asked.fds
            )

    async def run(
        self,
        *args: str,
        deadline: float,
        ok: Collection[int] = (0,),
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        progress: Callable[[str], None] | None = None,
        fds: tuple[int, ...] = (),
    ) -> Output:
        """Run `git ARGS`. Raises `GitError` for an exit status not in `ok`, `GitTimeoutError` at the deadline."""
        while True:
            done = await process.run(
                ["git", *args],
                cwd=self._cwd,
                env=self._env | dict(env or {}),
                deadline=deadline,
                stdin=stdin.encode(),
                limit=MAX_OUTPUT,
                on_line=progress,
                fds=fds,
            )
            err = done.err[-16384:].decode(errors="replace")
            if done.code is None:
                raise GitTimeoutError(f"git {args[0]} did not end in time and was stopped.")
            if done.code in ok and not done.cut:
                return Output(done.code, done.out.decode(errors="surrogateescape"), err)
            lock = locks.met(err, self._cwd / ".git")
            if lock is None or not await locks.outlive(lock, deadline=deadline):
                raise GitError(args[0], done.code, "its output is too long" if done.cut else err)
