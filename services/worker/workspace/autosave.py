"""Work in progress becomes a commit: whatever is not ignored, on whatever the agent has checked out."""

import re
from collections.abc import Sequence

import msgspec

from services.worker.workspace.errors import WorkspaceError, explain
from services.worker.workspace.git import Git
from services.worker.workspace.naming import Author, commit_message, identity

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
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


async def commit_all(
    git: Git, author: Author, message: str, co_authors: Sequence[Author] = (), *, deadline: float
) -> tuple[str, str]:
    """Commit everything that is not ignored; return HEAD's commit ("" when there is none yet) and what went wrong."""
    status = await git.run(
        "--no-optional-locks", "status", "--porcelain=v2", "--branch", "-z", "--ignore-submodules=dirty",
        deadline=deadline,
    )  # fmt: skip
    head, dirty = parse_status(status.out)
    if not dirty:
        return head, ""
    added = await git.run("add", "-A", "--ignore-errors", deadline=deadline, ok=(0, 1))
    name, email = identity(author)
    committed = await git.run(
        "commit", "-q", "--no-verify", "-F", "-",
        stdin=commit_message(message, co_authors),
        env={"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email},
        deadline=deadline,
        ok=(0, 1),
    )  # fmt: skip
    problem = f"Not everything could be saved: {explain(added.err)}." if added.code else ""
    if committed.code == 0:
        head = (await git.run("rev-parse", "HEAD", deadline=deadline)).out.strip()
    elif problem:
        raise WorkspaceError(problem)
    return head, problem


def parse_status(porcelain: str) -> tuple[str, bool]:
    """Return HEAD's commit, "" when unborn, and whether anything is uncommitted, from `status --porcelain=v2 -z`."""
    records = [record for record in porcelain.split("\0") if record]
    headers = dict(record.removeprefix("# ").split(" ", 1) for record in records if record.startswith("# "))
    oid = headers.get("branch.oid", "")
    return "" if oid == "(initial)" else oid, any(not record.startswith("# ") for record in records)


async def describe(git: Git, head: str, since: str, problem: str, *, deadline: float) -> Commit | None:
    """Tell what `head` has and `since` has not; None when that is nothing. `since` may be empty."""
    if head in {"", since}:
        return None
    span = [f"{since}..{head}"] if since else [head]
    log = await git.run("log", "-z", "--format=%H %s", *span, "--", deadline=deadline)
    entries = [entry for entry in log.out.split("\0") if entry]
    if not entries:
        return None
    stat = await git.run("diff", "--shortstat", since or EMPTY_TREE, head, "--", deadline=deadline)
    count = {what: int(number) for number, what in SHORTSTAT.findall(stat.out)}
    return Commit(
        sha=head,
        subject=entries[0].partition(" ")[2][:200],
        commits=len(entries),
        files=count.get("file", 0),
        insertions=count.get("insertion", 0),
        deletions=count.get("deletion", 0),
        problem=problem,
    )
