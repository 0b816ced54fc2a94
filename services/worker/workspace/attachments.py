"""Files that people attached: in `.threadmill/attachments/`, ignored by git, never anywhere else whatever they are called."""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, cast

from services.worker.workspace.errors import WorkspaceError
from services.worker.workspace.naming import file_name, numbered

FOLDER = (".threadmill", "attachments")
IGNORED = f"/{'/'.join(FOLDER)}/\n"
MAX_ALIKE = 1000  # files of one name


def exclude(git_dir: Path, *patterns: str) -> None:
    """Have git ignore the attachments, and `patterns`, without touching a file of the repository."""
    with (git_dir / "info" / "exclude").open("a") as file:
        file.writelines([IGNORED, *(f"{pattern}\n" for pattern in patterns)])


def create(workspace: Path, name: str) -> BinaryIO:
    """Open a new file for an attachment called `name` by a stranger; its `name` attribute is the absolute path.

    A name that is taken gets a number. Raises `WorkspaceError` when the folder is not a real one.
    """
    folder = _open_folder(workspace)
    try:
        return _create(folder, workspace.joinpath(*FOLDER), file_name(name))
    except OSError as e:
        raise WorkspaceError(f"The attachment cannot be written: {e.strerror}.") from e
    finally:
        os.close(folder)


def _create(folder: int, shown: Path, name: str) -> BinaryIO:
    def opener(path: str, flags: int) -> int:
        return os.open(Path(path).name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)

    for count in range(1, MAX_ALIKE):
        try:
            return cast("BinaryIO", open(shown / numbered(name, count), "xb", opener=opener))
        except FileExistsError:
            continue
    raise WorkspaceError("There are too many attachments of this name; rename the file.")


def _open_folder(workspace: Path) -> int:
    """Open the folder step by step, making it where needed, so that no symbolic link can lead out."""
    here = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    for part in FOLDER:
        above = here
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=above)
            here = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        except OSError as e:
            raise WorkspaceError(
                f"{'/'.join(FOLDER)} is not a folder of the workspace; remove what is there."
            ) from e
        finally:
            os.close(above)
    return here
