"""The session's branch: found again here or at the remote, else begun at the remote's default branch."""

import msgspec

from services.worker.workspace.git import Git
from services.worker.workspace.naming import branch_name, branch_prefix
from services.worker.workspace.state import State

HEADS, TRACKED = "refs/heads/", "refs/remotes/origin/"


class Refs(msgspec.Struct, frozen=True, kw_only=True):
    """The session's branches, newest first, as name to commit, and where the remote's default branch stands."""

    local: dict[str, str] = {}
    remote: dict[str, str] = {}
    base: str = ""
    base_sha: str = ""


async def read_refs(git: Git, thread: str, *, deadline: float) -> Refs:
    """Ask git, once, for the refs that matter to this thread."""
    prefix = branch_prefix(thread)
    listed = await git.run(
        "for-each-ref",
        "--sort=-committerdate",
        "--format=%(refname) %(objectname) %(symref)",
        f"{HEADS}{prefix}*",
        f"{TRACKED}{prefix}*",
        f"{TRACKED}HEAD",
        deadline=deadline,
    )
    return parse_refs(listed.out)


def parse_refs(listing: str) -> Refs:
    """Sort out lines of `refname sha [symref]`."""
    local, remote, base, base_sha = {}, {}, "", ""
    for line in filter(None, listing.split("\n")):  # a ref's name may hold what Python takes for a line's end
        name, sha, symref = line.split(" ", 2)
        if name == f"{TRACKED}HEAD":
            base, base_sha = symref.removeprefix(TRACKED), sha
        elif name.startswith(HEADS):
            local[name.removeprefix(HEADS)] = sha
        else:
            remote[name.removeprefix(TRACKED)] = sha
    return Refs(local=local, remote=remote, base=base, base_sha=base_sha)


async def take(git: Git, state: State, title: str, known: str, *, deadline: float) -> str:
    """Bring the workspace onto the session's branch and return its name; `state` learns where it begins.

    `known` is the branch that earlier turns had, which nobody may have been able to push; empty for none. Another one that
    lies here gives way to it where no work is on it: a worker died before it told its branch.
    """
    refs = await read_refs(git, state.thread, deadline=deadline)
    state.base = refs.base or state.base
    ours = known if known.startswith(branch_prefix(state.thread)) else ""
    here = ours if ours in refs.local else next(iter(refs.local), "")
    if here and (ours in {"", here} or await _has_work(git, deadline=deadline)):
        await _forward(git, state, here, refs, deadline=deadline)
        return here
    name = ours or next(iter(refs.remote), "") or branch_name(state.thread, title)
    state.saved = refs.remote.get(name, "")
    state.start = state.saved or refs.base_sha
    at = [state.start] if state.start else []
    await git.run("checkout", "-q", "--no-track", "-b", name, *at, "--", deadline=deadline)
    return name


async def _has_work(git: Git, *, deadline: float) -> bool:
    """Tell whether something lies here that the remote does not have: changes, new files, a merge, commits on any branch."""
    changed = await git.run("status", "--porcelain", deadline=deadline)
    commits = ["rev-list", "-n1", "HEAD", "--branches", "--not", "--remotes=origin"]
    # A HEAD without a commit is an agent's doing too: git says 128 of it.
    unsaved = await git.run(*commits, deadline=deadline, ok=(0, 128))
    # A merge that changes nothing shows in no status.
    merging = await git.run("rev-parse", "-q", "--verify", "MERGE_HEAD", deadline=deadline, ok=(0, 1))
    return bool(changed.out or unsaved.out or unsaved.code or merging.out)


async def _forward(git: Git, state: State, name: str, refs: Refs, *, deadline: float) -> None:
    """Take over what the remote has more, where that is a fast-forward of the branch that is checked out."""
    theirs = refs.remote.get(name, "")
    if theirs in {"", refs.local[name]}:
        state.saved = theirs or state.saved
        return
    head = await git.run("symbolic-ref", "-q", "HEAD", deadline=deadline, ok=(0, 1))
    if head.out.strip() != HEADS + name:
        return
    merged = await git.run("merge", "-q", "--ff-only", theirs, deadline=deadline, ok=(0, 1, 128))
    if merged.code == 0 and await git.resolve("HEAD", deadline=deadline) == theirs:
        state.saved = theirs
