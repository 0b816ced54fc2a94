"""Keeps credentials out of all that a session says. Pure."""

from typing import Any, TypeVar

import msgspec

from schemas.base import Message
from services.runtime.redact import Redaction

M = TypeVar("M", bound=Message)


def masked(message: M, redaction: Redaction) -> M:
    """Return `message` without credentials in any of its texts."""
    raw = {name: _masked(getattr(message, name), redaction) for name in message.__struct_fields__}
    return msgspec.structs.replace(message, **raw)


def _masked(value: Any, redaction: Redaction) -> Any:
    if isinstance(value, str):
        return redaction.text(value)
    if isinstance(value, tuple):
        return tuple(_masked(each, redaction) for each in value)
    if isinstance(value, msgspec.Struct):
        changed = {name: _masked(getattr(value, name), redaction) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    return value
