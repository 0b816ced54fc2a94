"""What sessions need and no launcher may give: read from a folder, a file for each, as a Secret is mounted."""

from pathlib import Path

from schemas.credentials import Secrets
from services.runtime.errors import Unavailable

USER, PASSWORD = "GIT_USER", "GIT_PASSWORD"


def read_secrets(folder: Path) -> Secrets:
    """Return what lies in `folder`: for git, and under its own name what the agent's environment needs.

    Raises `Unavailable`: it may come back, and was there when we began.
    """
    try:
        read = {file.name: file.read_text().strip() for file in sorted(folder.iterdir()) if _counts(file)}
    except (OSError, ValueError) as e:
        raise Unavailable(f"the secrets in {folder} cannot be read ({e})") from e
    # An empty one is none: it would stand in the place of what the worker has.
    found = {name: value for name, value in read.items() if value}
    user, password = found.pop(USER, ""), found.pop(PASSWORD, "")
    return Secrets(environ=found, git_user=user, git_password=password)


def _counts(file: Path) -> bool:
    # The rest is how a Secret is mounted.
    return not file.name.startswith(".") and file.is_file()
