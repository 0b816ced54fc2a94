"""Reading JSON of strangers: what is no JSON, what is of no type that we read, and what is merely wrong."""

from typing import TypeVar

import msgspec

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T")


class InvalidPayload(ValueError):
    """A payload that Slack would not send; the sentence says where it is wrong."""


class UnknownPayload(Exception):
    """A well-formed payload of a type that nobody here reads; the text is its type."""


class _Inner(msgspec.Struct):
    type: str = ""


class _Outline(msgspec.Struct):
    type: str = ""
    event: _Inner | None = None


def outline(body: bytes) -> tuple[str, str]:
    """Return the type of a payload and of the event inside, each empty where there is none. Raises `InvalidPayload`."""
    found = decode(body, _Outline)
    return found.type, found.event.type if found.event else ""


def decode(body: bytes, kind: type[T]) -> T:
    """Return the `kind` in `body`. Raises `InvalidPayload`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except MALFORMED as e:
        raise InvalidPayload(f"not a payload of Slack's: {e}") from e
