"""Objects in a folder of this machine, with the same promises as GCS. Several processes may share the folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from services.archiver import versions
from services.archiver.backend import Corrupt, ObjectInfo, PreconditionFailed, Unavailable, Upload, crc32c
from services.archiver.durable import locked


class Folder:
    """A `Backend` in the folder `root`, which is made when first needed."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, upload: Upload, until: float) -> ObjectInfo:
        """See `Backend.put`."""
        link = self._root / upload.name
        with self._held(until):
            current = versions.find(link)
            if current and upload.made(current):
                return current
            if (current.generation if current else 0) != upload.expected:
                raise PreconditionFailed(
                    f"{upload.name} is not as expected; list the objects and begin again"
                )
            info = ObjectInfo(
                name=upload.name,
                size=len(upload.data),
                crc32c=crc32c(upload.data),
                generation=max(time.time_ns(), upload.expected + 1),
                metadata=upload.metadata,
                created=datetime.now(UTC),
            )
            versions.place(link, info, upload.data)
            return info

    def read(self, name: str, until: float) -> bytes:
        """See `Backend.read`."""
        with self._held(until, shared=True):
            info = versions.describe(self._root / name)
            data = versions.read(self._root / name, info.generation)
        if len(data) != info.size or crc32c(data) != info.crc32c:
            raise Corrupt(f"{name} is not what was written; restore it from a backup")
        return data

    def page(self, prefix: str, after: str, limit: int, until: float) -> tuple[ObjectInfo, ...]:
        """See `Backend.page`."""
        with self._held(until, shared=True):
            names = versions.walk(self._root, prefix.rpartition("/")[0], prefix, after)
            return tuple(versions.describe(self._root / name) for name in islice(names, limit))

    def delete(self, name: str, until: float) -> int:
        """See `Backend.delete`."""
        with self._held(until):
            return versions.remove(self._root / name, self._root)

    def soft_delete_days(self, until: float) -> float | None:
        """See `Backend.soft_delete_days`."""
        return None

    def close(self) -> None:
        """See `Backend.close`."""

    @contextmanager
    def _held(self, until: float, *, shared: bool = False) -> Iterator[None]:
        try:
            with locked(self._root / ".lock", until, shared=shared):
                yield
        except OSError as e:
            reason = e.strerror or str(e)
            raise Unavailable(f"The folder {self._root} cannot be used: {reason}; free or repair it") from e
