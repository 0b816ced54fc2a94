"""The address of a repository, pure: what may be given to git, and what in it is a secret."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from services.worker.workspace.errors import WorkspaceError

SCHEMES = ("https", "http", "ssh", "git", "file")
SCP_LIKE = re.compile(r"(?P<login>[A-Za-z0-9][\w.-]*@)?[A-Za-z0-9][\w.-]*:(?!:)[^\s].*")

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class BasicAuth(msgspec.Struct, frozen=True):
    """A user name and a password or token; never shown by `repr`."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "BasicAuth(...)"


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """Where the repository is. `url` holds no secret; `auth` is what stood in it; `scheme` is empty for a path."""

    url: str
    scheme: str = ""
    host: str = ""
    auth: BasicAuth | None = None


def parse(address: str) -> Remote:
    """Read a git URL, an `scp`-like address or a path. Raises `WorkspaceError` for anything git should not be given."""
    text = address.strip()
    if not text or text.startswith("-") or _CONTROL_CHARACTER.search(text):
        raise WorkspaceError("This is no address of a git repository; give an https or ssh URL, or a path.")
    if "://" in text:
        return _parse_url(text)
    if SCP_LIKE.fullmatch(text) and "/" not in text.partition(":")[0]:
        return Remote(url=text, scheme="ssh", host=text.partition(":")[0])
    if "::" in text.partition("/")[0]:
        raise WorkspaceError(
            "Remote helpers such as `ext::` are not allowed; give an https or ssh URL, or a path."
        )
    return Remote(url=str(Path(text).absolute()))


def _parse_url(text: str) -> Remote:
    try:
        parts = urlsplit(text)
        scheme, user, password, _ = parts.scheme.lower(), parts.username, parts.password, parts.port
    except ValueError as e:
        raise WorkspaceError("This address of a git repository cannot be read; check it.") from e
    host = parts.netloc.rpartition("@")[2]
    if scheme not in SCHEMES or host.startswith("-") or (not host and scheme != "file"):
        raise WorkspaceError("This kind of address is not allowed; use https, ssh or a path.")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or (user or "").startswith("-"):
        raise WorkspaceError(
            "User name and password in an address must be percent-encoded, an @ in its path, too."
        )
    secret = scheme in {"http", "https"} and user is not None
    login = f"{user}@" if scheme == "ssh" and user else ""
    return Remote(
        url=parts._replace(scheme=scheme, netloc=login + host).geturl(),
        scheme=scheme,
        host=host,
        auth=BasicAuth(unquote(user or ""), unquote(password or "")) if secret else None,
    )
