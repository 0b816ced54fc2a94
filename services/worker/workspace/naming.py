"""Pure naming: the session's branch, people as git authors, commit messages, attachments' file names."""

import re
import unicodedata
from collections.abc import Sequence

import msgspec

from services.worker.workspace.errors import WorkspaceError

TOKEN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
NOREPLY = "users.noreply.threadmill.invalid"
MAX_SLUG = 40
MAX_MESSAGE = 10_000  # characters; more is no commit message
MAX_FILE_NAME = 200  # bytes; file systems take 255, and a number may be added

_WORDS = re.compile(r"[a-z0-9]+")
_NOT_IN_NAMES = re.compile(r"[<>\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_IN_ADDRESSES = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_IN_MESSAGES = re.compile(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f]")
_SEPARATOR = re.compile(r"[/\\]")


class Author(msgspec.Struct, frozen=True):
    """The person in the thread: `name` as shown there, `id` as the chat knows them."""

    name: str
    id: str


THREADMILL = Author("Threadmill", "threadmill")


def branch_prefix(thread: str) -> str:
    """Return what every branch name of this thread starts with. Raises `WorkspaceError` for an unsafe thread."""
    if not TOKEN.fullmatch(thread):
        raise WorkspaceError("The thread's name cannot be part of a branch name.")
    return f"threadmill/{thread}-"


def branch_name(thread: str, title: str) -> str:
    """Return the session's branch, such as `threadmill/1712345678-123456-fix-the-login`."""
    return branch_prefix(thread) + slug(title)


def slug(title: str) -> str:
    """Return up to 40 characters of `[a-z0-9-]` that remind of `title`."""
    ascii_only = unicodedata.normalize("NFKD", title[:500]).encode("ascii", "ignore").decode().lower()
    return "-".join(_WORDS.findall(ascii_only))[:MAX_SLUG].strip("-") or "session"


def identity(author: Author) -> tuple[str, str]:
    """Return the name and the e-mail address that git records for `author`."""
    name = " ".join(_NOT_IN_NAMES.sub(" ", author.name).split())[:100].strip(" .,:;\"'\\")
    ident = _NOT_IN_ADDRESSES.sub("-", author.id)[:64].strip("-") or "unknown"
    return _encodable(name) or ident, f"{ident}@{NOREPLY}"


def commit_message(message: str, co_authors: Sequence[Author] = ()) -> str:
    """Return a message that git takes as it is, with one trailer per co-author."""
    text = _encodable(_NOT_IN_MESSAGES.sub(" ", message))[:MAX_MESSAGE].strip()
    trailers = "".join(f"\nCo-Authored-By: {name} <{email}>" for name, email in map(identity, co_authors))
    return (text or "Work in progress") + ("\n" + trailers if trailers else "") + "\n"


def file_name(name: str) -> str:
    """Return `name` as one harmless path component: no separators, no leading dot or dash, no control characters."""
    last = _SEPARATOR.split(_encodable(unicodedata.normalize("NFC", name[-1000:])))[-1]
    safe = "".join(
        "_" if unicodedata.category(char)[0] == "C" or char in '<>:"|?*' else char for char in last
    )
    stem, dot, suffix = safe.strip().lstrip(".-").rstrip(". ").rpartition(".")
    if not dot or len(suffix) > 20:
        stem, suffix = f"{stem}{dot}{suffix}", ""
    end = f".{suffix}" if suffix else ""
    kept = stem.encode()[: MAX_FILE_NAME - len(end.encode())].decode(errors="ignore").strip().lstrip(".-")
    return f"{kept or 'file'}{end}"


def numbered(name: str, count: int) -> str:
    """Return the `count`-th name for files called alike: `a.png`, `a-2.png`, `a-3.png`."""
    stem, dot, suffix = name.rpartition(".")
    if count == 1:
        return name
    return f"{stem}-{count}.{suffix}" if dot else f"{name}-{count}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "ignore").decode()
