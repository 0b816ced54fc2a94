"""What can go wrong with a workspace, each as one sentence for the person in the thread."""

import re

AWAY = "the remote does not answer"
UNANSWERED = (
    r"Failed to connect|Connection (refused|timed out|reset)|Operation (timed out|too slow)|No route to host|"
    r"Empty reply from server|(HTTP|error:|code|response) 5\d\d"
)
# git's own words (it runs with LC_ALL=C) and what they mean to a person; the first that is found counts.
REASONS = (
    (r"No space left on device", "the disk is full"),
    (
        r"Authentication failed|could not read (Username|Password)|(HTTP|error:) 40[13]|Permission denied \(publickey",
        "the remote refused the credentials; check that Threadmill may read and write this repository",
    ),
    (
        r"repository .* not found|does not appear to be a git repository|does not exist|(HTTP|error:) 404",
        "there is no such repository; check its address",
    ),
    (
        r"Could not resolve host|Could not resolve hostname",
        "the remote's host name is unknown; check the address",
    ),
    (UNANSWERED, AWAY),
    (r"hook declined|protected branch", "the remote's own rules refused it"),
    (r"transport '.*' not allowed", "this kind of address is not allowed; use https, ssh or a path"),
)
USERINFO = re.compile(r"://[^/@\s]*@")
EMBEDDED = re.compile(r"^warning: adding embedded git repository: (.+)$", re.MULTILINE)
UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


class WorkspaceError(Exception):
    """The workspace cannot be used as asked; the message is one sentence for the person in the thread."""


class GitError(WorkspaceError):
    """git failed. `code` is its exit status, `stderr` the end of what it said, without credentials.

    `away` tells that the remote did not answer: it may the next time.
    """

    def __init__(self, command: str, code: int, stderr: str) -> None:
        self.code, self.stderr = code, redacted(stderr)
        why = explain(self.stderr)
        self.away = why == AWAY
        super().__init__(f"git {command} failed: {why}.")


class GitTimeoutError(WorkspaceError):
    """git was killed, with all that it had started, because the deadline passed."""


def redacted(text: str) -> str:
    """Return `text` without the user part of any URL."""
    return USERINFO.sub("://", text)


def explain(stderr: str) -> str:
    """Say in one clause why git failed, from the end of its output."""
    for pattern, meaning in REASONS:
        if re.search(pattern, stderr, re.IGNORECASE):
            return meaning
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal: ", "error: ", "remote: "))]
    told = (lines or stderr.splitlines() or ["it said nothing"])[0]
    return (
        UNPRINTABLE.sub(" ", told).removeprefix("fatal: ").removeprefix("error: ").strip().rstrip(".")[:300]
    )


def left_out(code: int, stderr: str) -> str:
    """Return one sentence about what `git add` did not take, "" when that is nothing."""
    if code:
        return f"Not everything could be saved: {explain(stderr)}."
    inner = EMBEDDED.findall(stderr)
    return (
        f"`{inner[0]}` is a repository of its own; only a reference to its commit is saved." if inner else ""
    )
