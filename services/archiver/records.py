"""The lines of an archived object: one JSON record each, gzipped together. Pure."""

import gzip
import zlib
from collections.abc import Iterable
from datetime import datetime

import msgspec

from services.archiver.backend import Corrupt

_MAX_UNPACKED = 64 * 1024 * 1024  # far above what is ever written: ends a gzip bomb
_DEPTH = 200  # levels of nesting to spare, so that a reader deeper in its own calls can follow


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the stream; `payload` byte for byte as it came."""

    seq: int
    subject: str
    time: datetime
    headers: dict[str, str]
    payload: bytes


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    subject: str
    time: datetime
    headers: dict[str, str]
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    payload_base64: bytes | msgspec.UnsetType = msgspec.UNSET


def encode(record: Record) -> bytes:
    """Return the record as one line of JSON, with `payload` as it came or, where that is no line, `payload_base64`."""
    as_is = _is_json_line(record.payload)
    line = _Line(
        seq=record.seq,
        subject=record.subject,
        time=record.time,
        headers={_text(name): _text(value) for name, value in record.headers.items()},
        payload=msgspec.Raw(record.payload) if as_is else msgspec.UNSET,
        payload_base64=msgspec.UNSET if as_is else record.payload,
    )
    return msgspec.json.encode(line) + b"\n"


def pack(lines: Iterable[bytes]) -> bytes:
    """Return an object of these lines: the same bytes each time, since its content tells a repeated write."""
    return gzip.compress(b"".join(lines), mtime=0)


def unpack(data: bytes) -> list[bytes]:
    """Return an object's lines. Raises `Corrupt` for what is cut short, altered, followed by more, or too large."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        text = unpacker.decompress(data, _MAX_UNPACKED)
    except zlib.error as e:
        raise Corrupt(f"The object is no intact gzip: {e}") from e
    if unpacker.unconsumed_tail:
        raise Corrupt(f"The object unpacks to more than {_MAX_UNPACKED} bytes")
    if not unpacker.eof or unpacker.unused_data or not text.endswith(b"\n"):
        raise Corrupt("The object is cut short, or something follows its end")
    return text[:-1].split(b"\n")


def _is_json_line(payload: bytes) -> bool:
    if payload != payload.strip() or b"\n" in payload or b"\r" in payload:
        return False
    try:
        msgspec.json.decode(payload)
        if payload.count(b"[") + payload.count(b"{") > _DEPTH:
            msgspec.json.decode(b"[" * _DEPTH + payload + b"]" * _DEPTH, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _text(header: str) -> str:
    """Return a header that JSON can carry: bytes that are no UTF-8 reach here as lone surrogates."""
    return header.encode(errors="backslashreplace").decode()
