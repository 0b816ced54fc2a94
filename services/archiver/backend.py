"""What a place for objects does, in blocking calls: a folder or a bucket. `store` makes them safe to await.

Objects are immutable and told apart by their content: a write repeated with the same bytes and metadata, as after a
lost answer, succeeds, a conflicting one is refused.
"""

import base64
from datetime import datetime
from typing import Protocol

import google_crc32c
import msgspec

MAX_OBJECT = 8 * 1024 * 1024
"""Bytes in one object: what GCS takes in one multipart upload, the only kind that is one atomic request."""


class StoreError(Exception):
    """The store refused, and trying again without a change would not help."""


class PreconditionFailed(StoreError):
    """Another object stands under the name, or another generation of it than expected."""


class Missing(StoreError):
    """No object has that name."""


class Corrupt(StoreError):
    """The object is not what was written: its checksum, its form or its metadata is wrong."""


class Unavailable(StoreError):
    """The store cannot answer now. What it was asked may still have happened; asking again is safe."""


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object. `size` in bytes, `crc32c` in base64 as GCS writes it; `generation` grows with each write."""

    name: str
    size: int
    crc32c: str
    generation: int
    metadata: dict[str, str]
    created: datetime


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An object to write over generation `expected` of its name; 0 where there must be none."""

    name: str
    data: bytes
    metadata: dict[str, str]
    content_type: str
    expected: int

    def made(self, info: ObjectInfo) -> bool:
        """Whether `info` is the object that this upload makes."""
        return (info.size, info.crc32c, info.metadata) == (len(self.data), crc32c(self.data), self.metadata)


class Backend(Protocol):
    """Blocking calls with checked names; `until` is the end of their time on the monotonic clock.

    All of them raise `Unavailable` and `StoreError`.
    """

    def put(self, upload: Upload, until: float) -> ObjectInfo:
        """Raises `PreconditionFailed`."""
        ...

    def read(self, name: str, until: float) -> bytes:
        """Return the bytes, checked. Raises `Missing` and `Corrupt`."""
        ...

    def page(self, prefix: str, after: str, limit: int, until: float) -> tuple[ObjectInfo, ...]:
        """Return the first `limit` objects with `prefix` whose names sort after `after`, in byte order of names."""
        ...

    def delete(self, name: str, until: float) -> int:
        """Delete every version and return their number."""
        ...

    def soft_delete_days(self, until: float) -> float | None:
        """For how many days deleted objects are kept; None where deleted is gone."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def crc32c(data: bytes) -> str:
    """Checksum in base64, big-endian, as GCS writes it."""
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
