"""An object's lines as the records that were written into it."""

from datetime import datetime

import msgspec

from services.archiver.records import Record, unpack


class _Line(msgspec.Struct):
    seq: int
    subject: str
    time: datetime
    headers: dict[str, str]
    payload: msgspec.Raw = msgspec.Raw()
    payload_base64: bytes = b""


def decode(data):
    return [_record(msgspec.json.decode(line, type=_Line)) for line in unpack(data)]


def _record(line):
    payload = bytes(line.payload) or line.payload_base64
    return Record(seq=line.seq, subject=line.subject, time=line.time, headers=line.headers, payload=payload)
