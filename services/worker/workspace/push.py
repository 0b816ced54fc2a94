"""Getting work to the remote: fast-forward only, under the lease, merged when others were there first, never lost."""

import re
from collections.abc import Callable

import msgspec

from services.worker.workspace import merge
from services.worker.workspace.branch import HEADS, TRACKED
from services.worker.workspace.errors import GitError
from services.worker.workspace.git import Git
from services.worker.workspace.merge import ConflictError
from services.worker.workspace.state import State

ATTEMPTS = 3  # pushes to the branch before giving up until the next save
ASIDE = "refs/threadmill/"
MOVED = re.compile(
    r"\((fetch first|non-fast-forward|stale info|failed to update ref|cannot lock ref|incorrect old value)"
)
SAID = re.compile(r"^remote: (?:error|fatal): ([ -~]{1,200})", re.MULTILINE)
REFUSED = re.compile(r"^!\t\S+\t(.*)$", re.MULTILINE)


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """Where the work is now. `ok` says that the session's branch has it; otherwise `problem` is one sentence.

    `ref` is the ref that holds `sha` at the remote, empty when nothing could be pushed. `merged` says that work of
    others came in.
    """

    ok: bool
    sha: str = ""
    ref: str = ""
    merged: bool = False
    problem: str = ""


class Pusher:
    """Publishes one session's branch."""

    def __init__(self, git: Git, state: State, branch: str, worker: str) -> None:
        self._git, self._state, self._branch, self._worker = git, state, branch, worker
        self._ref = HEADS + branch

    async def push(self, fence: Callable[[], bool], *, deadline: float) -> Push:
        """Bring HEAD to the session's branch at the remote, or aside when `fence` says that the lease is not ours."""
        head, on_branch = await self._head(deadline)
        if not head:
            return Push(ok=True)
        try:
            tip = head if on_branch else await self._gather(head, deadline)
            return await self._publish(tip, on_branch, fence, deadline)
        except ConflictError as e:
            theirs = f"origin/{self._branch}" if on_branch else self._branch
            why = f"{e} `git merge {theirs}` in the workspace settles it."
            return await self._aside("conflict", head, why, deadline)

    async def set_aside(self, unfinished: str, *, deadline: float) -> Push:
        """Keep a snapshot of an unfinished merge or rebase; the branch follows when that is done."""
        why = "A merge or rebase is under way in the workspace."
        return await self._aside("unfinished", unfinished, why, deadline)

    async def _publish(self, tip: str, on_branch: bool, fence: Callable[[], bool], deadline: float) -> Push:
        merged = False
        for _ in range(ATTEMPTS):
            if tip == self._state.saved:
                return Push(ok=True, sha=tip, ref=self._ref, merged=merged)
            if not fence():
                return await self._aside(
                    "lost", tip, "Another worker may have this session by now.", deadline
                )
            refusal = await self._try(f"{tip}:{self._ref}", deadline)
            if not refusal:
                self._state.saved = tip
                return Push(ok=True, sha=tip, ref=self._ref, merged=merged)
            theirs = await self._fetch(deadline) if MOVED.search(refusal) else ""
            if not theirs:
                return Push(ok=False, sha=tip, problem=f"The remote refused the branch: {refusal}.")
            merged = merged or theirs != self._state.saved
            tip = await self._meet(theirs, tip, on_branch, deadline)
            await self._move(tip, on_branch, deadline)
            self._state.saved = theirs
        return Push(
            ok=False, sha=tip, problem="Others keep pushing to this branch; the next save tries again."
        )

    async def _meet(self, theirs: str, tip: str, on_branch: bool, deadline: float) -> str:
        """Return a commit that goes on from both; what the agent rewrote on its branch counts as it stands now."""
        if on_branch and theirs == self._state.saved:
            return await merge.supersede(self._git, theirs, tip, deadline=deadline)
        return await merge.join(self._git, theirs, tip, deadline=deadline)

    async def _head(self, deadline: float) -> tuple[str, bool]:
        """Return HEAD's commit, "" when there is none, and whether HEAD is the session's branch."""
        head = await self._git.resolve("HEAD", deadline=deadline)
        name = await self._git.run("symbolic-ref", "-q", "HEAD", deadline=deadline, ok=(0, 1))
        return head, name.out.strip() == self._ref

    async def _gather(self, head: str, deadline: float) -> str:
        """Bring work that the agent left elsewhere (another branch, a detached HEAD) to the session's branch."""
        before = await self._git.resolve(self._ref, deadline=deadline)
        tip = await merge.join(self._git, before, head, deadline=deadline)
        if tip != before:
            await self._move(tip, False, deadline)
        return tip

    async def _move(self, tip: str, on_branch: bool, deadline: float) -> None:
        """Move the local branch forward, with the work tree when it is checked out."""
        if on_branch:
            await self._git.run("merge", "-q", "--ff-only", tip, deadline=deadline)
        else:
            await self._git.run("update-ref", self._ref, tip, deadline=deadline)

    async def _fetch(self, deadline: float) -> str:
        """Return where the remote's branch is now, "" when it has none."""
        await self._git.fetch(deadline=deadline)
        return await self._git.resolve(TRACKED + self._branch, deadline=deadline)

    async def _aside(self, kind: str, tip: str, why: str, deadline: float) -> Push:
        """Keep work that may not go to the branch under `refs/threadmill/<kind>/<worker>`."""
        first = f"{ASIDE}{kind}/{self._worker}"
        for ref in (first, f"{first}-{tip[:12]}"):
            refusal = await self._try(f"{tip}:{ref}", deadline)
            if not refusal:
                return Push(ok=False, sha=tip, ref=ref, problem=f"{why} It is kept as `{ref}`.")
        return Push(ok=False, sha=tip, problem=f"{why} It could not be kept aside either: {refusal}.")

    async def _try(self, refspec: str, deadline: float) -> str:
        """Push once; return the remote's reason for refusing, "" when it took it."""
        options = ("--porcelain", "--no-verify", "--no-follow-tags")
        done = await self._git.connect("push", *options, "origin", refspec, deadline=deadline, ok=(0, 1))
        refused = REFUSED.search(done.out)
        if done.code and refused is None:
            raise GitError("push", done.code, done.err)
        told = SAID.search(done.err)
        return f"{refused[1]} {told[1] if told else ''}".strip() if refused else ""
