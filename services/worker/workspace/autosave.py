"""Work in progress becomes a commit: whatever is not ignored, on whatever the agent has checked out."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.worker.workspace import snapshot
from services.worker.workspace.errors import WorkspaceError, left_out
from services.worker.workspace.git import Git
from services.worker.workspace.naming import Author, commit_message, identity

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
MAX_COMMITS = 1000  # no more are counted
SHORTSTAT = re.compile(r"(\d+) (file|insertion|deletion)")


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What is new since the last push: the newest commit, how many there are, and what they change together.

    `problem` is one sentence about what could not be saved, empty when all was.
    """

    sha: str
    subject: str
    commits: int
    files: int
    insertions: int
    deletions: int
    problem: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the work tree is like: HEAD's commit ("" when unborn), anything uncommitted, anything in conflict."""

    head: str
    dirty: bool
    unmerged: bool


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Where the work is now: in `head`, or aside in `unfinished` while a merge or rebase is under way."""

    head: str
    unfinished: str = ""
    problem: str = ""


async def save(
    git: Git, workspace: Path, author: Author, message: str, co_authors: Sequence[Author], *, deadline: float
) -> Saved:
    """Commit everything that is not ignored. Raises `WorkspaceError` when nothing of it can be."""
    listed = await git.run(
        "--no-optional-locks", "status", "--porcelain=v2", "--branch", "-z", "--ignore-submodules=dirty", "--no-renames",
        deadline=deadline,
    )  # fmt: skip
    status = parse_status(listed.out)
    if not status.dirty:
        return Saved(head=status.head)
    name, email = identity(author)
    env = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email}
    text = commit_message(message, co_authors)
    if status.unmerged or snapshot.under_way(workspace / ".git"):
        made, problem = await snapshot.take(git, workspace, status.head, text, env, deadline=deadline)
        return Saved(head=status.head, unfinished=made, problem=problem)
    return await _commit(git, status.head, text, env, deadline=deadline)


async def _commit(git: Git, head: str, text: str, env: dict[str, str], *, deadline: float) -> Saved:
    added = await git.run("add", "-A", "--ignore-errors", deadline=deadline, ok=(0, 1))
    problem = left_out(added.code, added.err)
    done = await git.run(
        "commit", "-q", "--no-verify", "-F", "-", stdin=text, env=env, deadline=deadline, ok=(0, 1)
    )
    if done.code == 0:
        head = await git.resolve("HEAD", deadline=deadline)
    elif problem:
        raise WorkspaceError(problem)
    return Saved(head=head, problem=problem)


def parse_status(porcelain: str) -> Status:
    """Read the output of `status --porcelain=v2 --branch -z --no-renames`: a rename would be a record and a bare name."""
    records = [record for record in porcelain.split("\0") if record]
    headers = dict(record[2:].split(" ", 1) for record in records if record.startswith("# "))
    head = headers.get("branch.oid", "(initial)")
    return Status(
        head="" if head == "(initial)" else head,
        dirty=len(records) > len(headers),
        unmerged=any(record.startswith("u ") for record in records),
    )


async def describe(git: Git, head: str, since: str, problem: str, *, deadline: float) -> Commit | None:
    """Tell what `head` has and `since` has not; None when that is nothing. Either may be empty."""
    if head in {"", since}:
        return None
    span = f"{since}..{head}" if since else head
    log = await git.run(
        "log", "-z", f"--max-count={MAX_COMMITS}", "--format=%s", span, "--", deadline=deadline
    )
    if not log.out:
        return None
    subjects = log.out.removesuffix("\0").split("\0")
    stat = await git.run("diff", "--shortstat", since or EMPTY_TREE, head, "--", deadline=deadline)
    count = {what: int(number) for number, what in SHORTSTAT.findall(stat.out)}
    return Commit(
        sha=head,
        subject=subjects[0][:200],
        commits=len(subjects),
        files=count.get("file", 0),
        insertions=count.get("insertion", 0),
        deletions=count.get("deletion", 0),
        problem=problem,
    )
