"""What strangers say, made safe to pass on: of the right type, short where it is shown, and always encodable."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
import structlog

from services.runtime.counting import count_refused

log = structlog.get_logger(__name__)

TITLE_CHARACTERS, DETAIL_CHARACTERS, OUTPUT_CHARACTERS, SENTENCE_CHARACTERS = 120, 2_000, 4_000, 300
# What reading JSON of an unexpected shape can raise.
ODD = (AttributeError, KeyError, TypeError, ValueError, RecursionError)

E = TypeVar("E", bound=msgspec.Struct)


def valid(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters, with a mark where it was cut."""
    return valid(text if len(text) <= limit else text[: limit - 1] + "…")


def words(value: Any) -> str:
    """Return `value` where it is a text, else an empty one."""
    return valid(value) if isinstance(value, str) else ""


def number(value: Any) -> float:
    """Return `value` where it is a number from 0 to 2^53, which any JSON carries, else 0."""
    return float(value) if isinstance(value, int | float) and 0 < value <= 2**53 else 0.0


def sentence(error: BaseException) -> str:
    """Return what went wrong in one line, without its full stop."""
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return shorten(first, SENTENCE_CHARACTERS).rstrip(".")


def sound(event: E) -> E:
    """Return `event` with every field as its type says. Raises `ValueError`."""
    return msgspec.convert(msgspec.to_builtins(event), type(event))


def told(message: Any, events: Callable[[], Iterable[E]]) -> list[E]:
    """Return the `events` of an agent's `message`; one that is not made as it should be costs itself alone."""
    try:
        return [sound(event) for event in events()]
    except ODD as e:
        count_refused("worker", "agent_message")
        log.warning("a message of the agent is passed over", kind=type(message).__name__, error=sentence(e))
        return []
