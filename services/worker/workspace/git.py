"""The one runner of git: argument vectors, a deadline, our environment, no shell."""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from services.worker.workspace import locks, process
from services.worker.workspace.credentials import Credential, askpass, credential_for
from services.worker.workspace.errors import GitError, GitTimeoutError, WorkspaceError
from services.worker.workspace.home import Home
from services.worker.workspace.remote import BasicAuth, Remote

MAX_OUTPUT = 32 * 1024 * 1024


class Output(msgspec.Struct, frozen=True):
    """What git printed, and how it ended; what is no UTF-8 is replaced, since no message could say it."""

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
        with askpass(self.remote, await self._auth(deadline)) as asked:
            return await self.run(
                *args, deadline=deadline, ok=ok, progress=progress, env=asked.env, fds=asked.fds
            )

    async def fetch(self, *, deadline: float) -> None:
        """Bring the remote's branches in; those that it has no more are forgotten, with nothing of ours."""
        await self.connect("fetch", "-q", "--prune", "--no-write-fetch-head", "origin", deadline=deadline)

    async def resolve(self, ref: str, *, deadline: float) -> str:
        """Return the commit at `ref`, "" when there is none."""
        found = await self.run("rev-parse", "-q", "--verify", ref, deadline=deadline, ok=(0, 1))
        return found.out.strip()

    async def _auth(self, deadline: float) -> BasicAuth | None:
        if self._credential is None:
            return None
        try:
            async with asyncio.timeout_at(deadline):
                return await self._credential()
        except TimeoutError as e:
            raise GitTimeoutError("The credential for the repository did not come in time.") from e

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
            try:
                done = await process.run(
                    ["git", *args],
                    cwd=self._cwd,
                    env={**self._env, **(env or {})},
                    deadline=deadline,
                    stdin=stdin.encode(),
                    limit=MAX_OUTPUT,
                    on_line=progress,
                    fds=fds,
                )
            except OSError as e:
                raise WorkspaceError(f"git cannot be started: {e.strerror}.") from e
            err = done.err[-16384:].decode(errors="replace")
            if done.code is None:
                raise GitTimeoutError(f"git {args[0]} did not end in time and was stopped.")
            if done.code in ok and not done.cut:
                return Output(done.code, done.out.decode(errors="replace"), err)
            lock = locks.met(err, self._cwd / ".git")
            if lock is None or not await locks.outlive(lock, deadline=deadline):
                raise GitError(args[0], done.code, "its output is too long" if done.cut else err)
