"""`decode`: a message of the bus for human eyes."""

import sys

import msgspec


def decode() -> None:
    """Make a message of the bus readable.

    It reads one from standard input, as `nats sub --translate "threadmill decode"` gives it; what is no JSON passes
    unchanged.
    """
    data = sys.stdin.buffer.read()
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        sys.stdout.buffer.write(data)
        return
    if isinstance(value, dict) and isinstance(value.get("entries"), str):
        value["entries"] = _inner(value["entries"])
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def _inner(text: str) -> object:
    """Return the JSON that stands inside a JSON string, where it is whole."""
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
