"""A Web API call: who asks what, how its arguments are read, and the table of methods."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from services.local.slack.answers import UNREADABLE
from services.local.slack.content import Contents
from services.local.slack.errors import invalid
from services.local.slack.limits import Pace
from services.local.slack.model import Json
from services.local.slack.tickets import Tickets
from services.local.slack.workspace import Workspace

A = TypeVar("A", bound=msgspec.Struct)

# A form carries these as JSON in a string.
STRUCTURED = frozenset({"blocks", "chunks", "metadata", "attachments", "files", "view", "loading_messages"})


class Context(NamedTuple):
    """What a method needs beside its arguments. `base` is the simulator's address, without a closing slash."""

    workspace: Workspace
    base: str
    emit: Callable[[list[Json]], None]
    tickets: Tickets
    contents: Contents
    views: dict[str, Json]


class Method(NamedTuple, Generic[A]):
    """A method: the shape of its arguments, what it does, how often it may be called, and whose token it wants.

    One that only reads is `form_only`: of a JSON body Slack takes no notice there.
    """

    arguments: type[A]
    run: Callable[[Context, A], Json]
    pace: Pace
    app_level: bool = False
    form_only: bool = False


Methods = Mapping[str, Method[Any]]


class Arguments(msgspec.Struct, kw_only=True):
    """Arguments of a method; like Slack, it takes no notice of names it does not know."""


def read_arguments(shape: type[A], given: Json) -> A:
    """The arguments as the method wants them. Raises `invalid_arguments`, or `invalid_blocks` and its like."""
    decoded = {name: _decoded(name, value) for name, value in given.items() if value is not None}
    try:
        return msgspec.convert(decoded, shape, strict=False)
    except msgspec.ValidationError as e:
        wrong = next((name for name in ("blocks", "chunks", "metadata") if f"$.{name}" in str(e)), None)
        raise invalid(_code(wrong), str(e)) from e


def _decoded(name: str, value: Any) -> Any:
    if name not in STRUCTURED or not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except UNREADABLE as e:
        raise invalid(_code(name), f"not JSON: {e} [json-pointer:/{name}]") from e


def _code(name: str | None) -> str:
    return {
        "blocks": "invalid_blocks",
        "chunks": "invalid_chunks",
        "metadata": "invalid_metadata_format",
    }.get(name or "", "invalid_arguments")
