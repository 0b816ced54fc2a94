"""Making a message fit the bus: whatever it is made of, it is encodable and below the broker's limit. Pure."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from schemas.base import Message
from schemas.bus import MAX_PAYLOAD

# A batch of two, with headers, stays below what the broker takes at once.
MOST_BYTES = MAX_PAYLOAD // 4
CUT = "\n… (shortened: it was too long to be kept whole)"
# Far more than people read, and below what the broker takes in one message.
MOST_CHARACTERS = 256 * 1024
LEFT_OUT = "… (the beginning is left out)\n\n"

M = TypeVar("M", bound=Message)


def fitting(message: M) -> M:
    """Return `message` itself where it fits, else with its texts shortened until it does."""
    try:
        if len(message.encode()) <= MOST_BYTES:
            return message
    except UnicodeEncodeError:
        message = _with_texts(message, MOST_BYTES)
    limit = MOST_BYTES // 8
    while len(message.encode()) > MOST_BYTES and limit:
        message, limit = _with_texts(message, limit), limit // 2
    return message


def joined(texts: Sequence[str]) -> str:
    """Return `texts` as one, its beginning left out where it is too long."""
    whole = "\n\n".join(filter(None, texts))
    return whole if len(whole) <= MOST_CHARACTERS else LEFT_OUT + whole[-MOST_CHARACTERS:]


def _with_texts(message: M, limit: int) -> M:
    raw = {name: _shortened(getattr(message, name), limit) for name in message.__struct_fields__}
    return msgspec.structs.replace(message, **raw)


def _shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        whole = value.encode("utf-8", "replace").decode()
        return whole if len(whole) <= limit else whole[:limit] + CUT
    if isinstance(value, tuple):
        return tuple(_shortened(each, limit) for each in value[:limit])
    if isinstance(value, msgspec.Struct):
        changed = {name: _shortened(getattr(value, name), limit) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    return value
