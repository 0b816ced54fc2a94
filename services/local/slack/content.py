"""What files contain: in memory, or in a folder where the workspace is kept."""

import os
from pathlib import Path


class Contents:
    """Bytes by file id. Ids are the workspace's own, never a stranger's text."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[str, bytes] = {}
        if folder:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, file: str, content: bytes) -> None:
        """Keep a file's content."""
        if self._folder is None:
            self._memory[file] = content
            return
        with os.fdopen(
            os.open(self._folder / file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as target:
            target.write(content)

    def get(self, file: str) -> bytes | None:
        """A file's content, None as long as nothing was uploaded."""
        if self._folder is None:
            return self._memory.get(file)
        path = self._folder / file
        return path.read_bytes() if path.exists() else None
