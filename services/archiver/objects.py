"""What the archive's objects are called, what they say of themselves, and which one comes next. Pure.

A session's objects are `v1/<team>/<channel>/<thread>/<n>.jsonl.gz`, n from 1: gzip, one JSON record a line, readable
with `gsutil cat ... | zcat | jq`.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple, Self

import msgspec

from schemas.base import Moment
from schemas.keys import SessionKey
from services.archiver.backend import MAX_OBJECT, Corrupt, ObjectInfo
from services.archiver.records import Record, encode, pack

SCHEMA = 1
CONTENT_TYPE = "application/gzip"

_NAME = re.compile(r"v1/[^/]+/[^/]+/[^/]+/([0-9]{8})\.jsonl\.gz", re.ASCII)
_MAX_LINES = MAX_OBJECT - 64 * 1024  # gzip makes what it cannot shrink a little longer


class Span(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What an object holds, as its metadata says it. Sequences are those of `stream`; both ends are included."""

    schema: int = SCHEMA
    session: str
    stream: str
    count: int
    first_seq: int
    last_seq: int
    first_time: Moment
    last_time: Moment

    @classmethod
    def of(cls, key: SessionKey, stream: str, records: Sequence[Record]) -> Self:
        """Return the span of `records`, at least one."""
        return cls(
            session=str(key),
            stream=stream,
            count=len(records),
            first_seq=records[0].seq,
            last_seq=records[-1].seq,
            first_time=records[0].time,
            last_time=records[-1].time,
        )

    @classmethod
    def read(cls, info: ObjectInfo) -> Self:
        """Return what the object's metadata says. Raises `Corrupt`."""
        try:
            return msgspec.convert(info.metadata, cls, strict=False)
        except (msgspec.ValidationError, UnicodeError) as e:
            raise Corrupt(
                f"The metadata of {info.name} is not the archive's: {e}; remove or rename it"
            ) from e

    def metadata(self) -> dict[str, str]:
        """Return the span as an object's metadata."""
        return {name: str(value) for name, value in msgspec.to_builtins(self).items()}


class Planned(NamedTuple):
    """An object to create. `taken` records are in it; those after them are for the next."""

    name: str
    data: bytes
    metadata: dict[str, str]
    taken: int


class Position(NamedTuple):
    """Where a session's archive goes on: the number of its next object, after this stream sequence."""

    next_n: int
    last_seq: int


def session_prefix(key: SessionKey) -> str:
    """Return what the names of all objects of a session begin with."""
    return f"v1/{key.team}/{key.channel}/{key.thread}/"


def object_name(key: SessionKey, n: int) -> str:
    """Return the name of a session's `n`th object."""
    return f"{session_prefix(key)}{n:08d}.jsonl.gz"


def summary_name(key: SessionKey) -> str:
    """Return the name of a session's summary, the one object that is replaced."""
    return f"{session_prefix(key)}summary.json"


def is_log(name: str) -> bool:
    """Whether an object holds records of a session; whatever else lies there is not ours to read."""
    return _NAME.fullmatch(name) is not None


def position(listing: Iterable[ObjectInfo]) -> Position:
    """Tell from a session's objects where its archive goes on; other objects are passed over. Raises `Corrupt`."""
    spans = [(int(match[1]), Span.read(info)) for info in listing if (match := _NAME.fullmatch(info.name))]
    return Position(
        next_n=max((n for n, _ in spans), default=0) + 1,
        last_seq=max((span.last_seq for _, span in spans), default=0),
    )


def highest(listing: Iterable[ObjectInfo], stream: str) -> int:
    """Return the highest sequence of `stream` that any object holds, 0 where there is none. Raises `Corrupt`."""
    spans = (Span.read(info) for info in listing if is_log(info.name))
    return max((span.last_seq for span in spans if span.stream == stream), default=0)


def tombstone(key: SessionKey, stream: str, at: Position, through: int, time: datetime) -> Planned:
    """Return the object without records that follows a deletion of everything through sequence `through`.

    It takes the name that another archiver would write next, so that none brings back what it read before.
    """
    span = Span(
        session=str(key),
        stream=stream,
        count=0,
        first_seq=through,
        last_seq=max(through, at.last_seq),
        first_time=time,
        last_time=time,
    )
    return Planned(object_name(key, at.next_n), pack([]), span.metadata(), 0)


def plan_object(key: SessionKey, stream: str, last: ObjectInfo | None, records: Sequence[Record]) -> Planned:
    """Return the object that follows `last`: as many of `records` as fit into one, the first in any case.

    Raises `ValueError` unless the records' sequences ascend from beyond the last object's.
    """
    next_n, last_seq = position([last] if last else [])
    sequences = [last_seq, *(record.seq for record in records)]
    if not records or any(a >= b for a, b in pairwise(sequences)):
        raise ValueError(f"the records after sequence {last_seq} of {key} are none or not ascending")
    lines = _fitting(records)
    taken = records[: len(lines)]
    data = pack(lines)
    return Planned(object_name(key, next_n), data, Span.of(key, stream, taken).metadata(), len(taken))


def _fitting(records: Sequence[Record]) -> list[bytes]:
    fitting: list[bytes] = []
    size = 0
    for record in records:
        line = encode(record)
        size += len(line)
        if fitting and size > _MAX_LINES:
            break
        fitting.append(line)
    return fitting
