"""The folder of a backup: one file for each stream, and a manifest that is written when all of them are there."""

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from schemas.base import now
from services.runtime.snapshots import CHUNK, Taken

MANIFEST = "manifest.json"
OWNER_ONLY = 0o700


class BackupError(Exception):
    """The folder cannot be used; the sentence says the way out."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One stream in its file."""

    file: str
    bytes: int
    sha256: str
    taken: Taken

    @property
    def name(self) -> str:
        """The stream's name."""
        return str(self.taken.config["name"])

    @property
    def messages(self) -> int:
        """How many messages it held."""
        return int(self.taken.state["messages"])


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backup; `id` marks the streams that were restored from it."""

    id: str
    release: str
    streams: tuple[Kept, ...]
    at: datetime = msgspec.field(default_factory=now)


class Writing:
    """A file being written, its bytes counted and summed up on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self.bytes = 0

    def keep(self, chunk: bytes) -> None:
        """Write one chunk."""
        self._file.write(chunk)
        self._sum.update(chunk)
        self.bytes += len(chunk)

    def finish(self, taken: Taken) -> Kept:
        """Return what is kept, once the disk has it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        file = _file_of(taken.config["name"])
        return Kept(file=file, bytes=self.bytes, sha256=self._sum.hexdigest(), taken=taken)


class Folder:
    """A folder for one backup."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def begin(self) -> None:
        """Make the folder. Raises `BackupError` when something is in it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
            used = any(self.path.iterdir())
        except OSError as e:
            raise BackupError(f"{self.path} cannot be used ({e.strerror}); name another folder") from e
        if used:
            raise BackupError(
                f"{self.path} is not empty; name a new folder, so that no backup is overwritten"
            )

    def create(self, stream: str) -> BinaryIO:
        """Open a new file for `stream`; what people said is for its owner's eyes alone."""
        path = self.path / _file_of(stream)
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: from now on the backup is whole."""
        begun = self.path / f"{MANIFEST}.begun"
        begun.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        begun.replace(self.path / MANIFEST)

    def manifest(self) -> Manifest:
        """Return the manifest, every file found to be as it was written. Raises `BackupError`."""
        try:
            manifest = msgspec.json.decode((self.path / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError) as e:
            raise BackupError(
                f"{self.path} holds no whole backup: it has no {MANIFEST} that can be read"
            ) from e
        for kept in manifest.streams:
            self._check(kept)
        return manifest

    def chunks(self, kept: Kept) -> Iterator[bytes]:
        """Yield a stream's file, piece by piece."""
        with (self.path / Path(kept.file).name).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _check(self, kept: Kept) -> None:
        found = hashlib.sha256()
        try:
            for chunk in self.chunks(kept):
                found.update(chunk)
        except OSError as e:
            raise BackupError(
                f"{kept.file} of the backup cannot be read ({e.strerror}); use another copy"
            ) from e
        if found.hexdigest() != kept.sha256:
            raise BackupError(
                f"{kept.file} is not what was backed up: its checksum differs; use another copy"
            )


def _file_of(stream: str) -> str:
    return f"{stream}.snapshot"
