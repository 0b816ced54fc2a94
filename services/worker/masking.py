"""Keeps the secret values that a session was given out of all that it says and stores. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from schemas.base import Message

MASK = "[redacted]"
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD")
# What is shorter is a word or a number that may stand anywhere.
LEAST = 8

M = TypeVar("M", bound=Message)


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Return the values of those variables whose names speak of a secret."""
    return [value for name, value in environ.items() if SECRET_NAME.search(name.upper())]


class Masking:
    """Masks `values`, as they are and as they stand in JSON."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = {form for value in values if len(value) >= LEAST for form in (value, json.dumps(value)[1:-1])}
        # The longest first: one may be a part of another.
        self._values = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def data(self, data: bytes) -> bytes:
        """Return a file's content without secrets."""
        for value in self._values:
            data = data.replace(value.encode(), MASK.encode())
        return data

    def message(self, message: M) -> M:
        """Return `message` without secrets in any of its texts."""
        if not self._values:
            return message
        raw = {name: self._masked(getattr(message, name)) for name in message.__struct_fields__}
        return msgspec.structs.replace(message, **raw)

    def held(self, text: str) -> int:
        """Return how many characters at the end of `text` may be the beginning of a secret."""
        return max((_overlap(text, value) for value in self._values), default=0)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, tuple):
            return tuple(map(self._masked, value))
        if isinstance(value, msgspec.Struct):
            changed = {name: self._masked(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **changed)
        return value


def _overlap(text: str, value: str) -> int:
    end = text[-len(value) + 1 :]
    return next((size for size in range(len(end), 0, -1) if value.startswith(end[-size:])), 0)
