"""Bringing a repository: cloned into an empty folder, or brought up to date in the session's own; then its branch."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex

from services.worker.workspace import branch, state
from services.worker.workspace.attachments import exclude
from services.worker.workspace.credentials import Credential
from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.git import Git
from services.worker.workspace.naming import TOKEN, branch_prefix
from services.worker.workspace.remote import parse
from services.worker.workspace.retry import until_answered
from services.worker.workspace.state import State
from services.worker.workspace.workspace import Workspace

CLONE = ".threadmill-clone"  # what begins with it holds a clone that is not in its place yet, never work
PERCENT = re.compile(r"(?:remote: )?([A-Z][A-Za-z ]+): +(\d+)%")
# git counts every object that it can; a small repository is here before anybody could read a number.
PERCENT_SECONDS = 0.5
VOLUME = "lost+found"  # may lie in an empty folder


@dataclass(kw_only=True)
class Repository:
    """The session's repository in its folder `path`, up to date with its remote, on whatever branch it was left on."""

    path: Path
    worker: str
    resumed: bool
    git: Git
    state: State

    async def on_branch(self, title: str, known: str, *, deadline: float) -> Workspace:
        """Return the workspace on the session's branch: what `close` removes is its own from here on.

        The branch is `known` where earlier turns had it, else the thread's newest one, else begun and named after `title`.
        Raises `WorkspaceError`.
        """
        name = await branch.take(self.git, self.state, title, known, deadline=deadline)
        state.store(self.path / ".git", self.state)
        return Workspace(
            path=self.path,
            branch=name,
            base=self.state.base,
            worker=self.worker,
            resumed=self.resumed,
            git=self.git,
            state=self.state,
        )

    def close(self) -> None:
        """Remove what was kept outside the folder, which stays."""
        self.git.close()


async def open_repository(
    *,
    path: Path,
    url: str,
    thread: str,
    worker: str,
    deadline: float,
    progress: Callable[[str], None],
    ours: asyncio.Event,
    credential: Credential | None = None,
) -> Repository:
    """Bring this session's repository at `url` to `path`: cloned, or fetched where this session left it there before.

    Until the session is `ours` what others may have at `path` is left alone: a clone of our own is all that comes.
    `deadline` is a time of the event loop. All work that is at `path` stays. `close` the result, or the workspace that
    becomes of it. Raises `WorkspaceError`.
    """
    branch_prefix(thread)
    if not TOKEN.fullmatch(worker):
        raise WorkspaceError("The worker's name cannot be part of a ref.")
    git = Git(parse(url), credential)
    try:
        return await _bring(
            git, Path.cwd() / path, thread, worker=worker, deadline=deadline, progress=progress, ours=ours
        )
    except OSError as e:
        git.close()
        raise WorkspaceError(f"The workspace cannot be prepared: {e.strerror or e}.") from e
    except BaseException:
        git.close()
        raise


async def _bring(
    git: Git,
    path: Path,
    thread: str,
    *,
    worker: str,
    deadline: float,
    progress: Callable[[str], None],
    ours: asyncio.Event,
) -> Repository:
    again = _has_git(path)
    if again:
        await ours.wait()
        await asyncio.to_thread(_sweep, path)
        found = state.load(path / ".git", url=git.remote.url, thread=thread)
        git.bind(path)
        await until_answered(partial(git.fetch, deadline=deadline), deadline=deadline, progress=progress)
    else:
        fresh = State(url=git.remote.url, thread=thread)
        cloning = partial(_clone, git, path, fresh, deadline=deadline, progress=progress, ours=ours)
        found = await until_answered(cloning, deadline=deadline, progress=progress)
        git.bind(path)
    return Repository(path=path, worker=worker, resumed=again, git=git, state=found)


def _has_git(path: Path) -> bool:
    return (path / ".git").is_dir() and not (path / ".git").is_symlink()


async def _clone(
    git: Git,
    path: Path,
    fresh: State,
    *,
    deadline: float,
    progress: Callable[[str], None],
    ours: asyncio.Event,
) -> State:
    """Clone beside the work tree and move the finished repository into place, so that a crash leaves nothing half."""
    progress("Cloning the repository")
    clone = await asyncio.to_thread(_room_for_clone, path, ours.is_set())
    options = ["--no-checkout", "--template=", "--no-hardlinks", "--origin=origin", "--progress"]
    try:
        await git.connect(
            "clone", *options, "--", git.remote.url, str(clone), deadline=deadline, progress=percent(progress)
        )
        await ours.wait()
        await asyncio.to_thread(_sweep, path, clone)
        return _adopt(clone / ".git", path / ".git", fresh)
    finally:
        await asyncio.to_thread(shutil.rmtree, clone, ignore_errors=True)


def percent(
    progress: Callable[[str], None], clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Return a listener to git's output that passes on `Receiving objects 45%`, no oftener than is read, and nothing else."""
    due = clock() + PERCENT_SECONDS

    def listen(line: str) -> None:
        nonlocal due
        if (found := PERCENT.match(line)) and clock() >= due:
            due = clock() + PERCENT_SECONDS
            progress(f"{found[1]} {found[2]}%")

    return listen


def _room_for_clone(path: Path, ours: bool) -> Path:
    """Return a folder of our own: whoever lost the session to us may still be about to remove theirs."""
    path.mkdir(parents=True, exist_ok=True)
    left = [entry for entry in path.iterdir() if entry.name != VOLUME]
    if not all(entry.name.startswith(CLONE) for entry in left):
        raise WorkspaceError(state.NOT_OURS)
    if ours:
        _sweep(path)
    return path / f"{CLONE}-{token_hex(4)}"


def _sweep(path: Path, *kept: Path) -> None:
    """Remove the clones that others began, since the session is ours: who died left all of theirs."""
    for entry in path.glob(f"{CLONE}*"):
        if entry not in kept:
            shutil.rmtree(entry, ignore_errors=True)


def _adopt(cloned: Path, git_dir: Path, fresh: State) -> State:
    """Complete the clone's git directory and put it where it belongs; HEAD still names the default branch."""
    fresh.base = (cloned / "HEAD").read_text().removeprefix("ref: refs/heads/").strip()
    for folder in ("info", "logs"):
        (cloned / folder).mkdir(exist_ok=True)
    # Whoever does not get the session may begin a clone beside our work, until they know.
    exclude(cloned, f"/{CLONE}-*/")
    state.store(cloned, fresh)
    cloned.rename(git_dir)
    return fresh
