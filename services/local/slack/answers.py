"""How a door reads what it is given and says what is wrong with it."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiDictProxy

from services.local.slack.errors import SlackError
from services.local.slack.model import Json

T = TypeVar("T")

Fields = MultiDictProxy[str | bytes | bytearray | web.FileField]
# How msgspec says that bytes or a text are not the JSON that was wanted.
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def dumps(value: Any) -> str:
    """JSON as a text."""
    return msgspec.json.encode(value).decode()


def answer(body: Json, *, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.json_response(body, status=status, dumps=dumps)


def refusing(work: Callable[[], Json]) -> web.Response:
    """What the work answers, or why it was refused."""
    try:
        return answer(work())
    except SlackError as e:
        return refusal(e)
    except ValueError as e:
        raise bad_request(str(e)) from e


def refusal(e: SlackError) -> web.Response:
    """Slack's own code: 404 for an unknown id, else 400."""
    return answer({"ok": False, "error": e.error}, status=404 if e.error.endswith("_not_found") else 400)


def bad_request(sentence: str) -> web.HTTPBadRequest:
    """400 with one sentence."""
    return web.HTTPBadRequest(text=dumps({"ok": False, "error": sentence}), content_type="application/json")


async def body_of(request: web.Request, shape: type[T]) -> T:
    """The body in its shape. Raises 400 that names the field."""
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except UNREADABLE as e:
        raise bad_request(f"The body does not fit: {e}.") from e


async def form_of(request: web.Request) -> Fields:
    """The fields of a form. Raises `invalid_form_data`."""
    try:
        return await request.post()
    except (ValueError, LookupError, HttpProcessingError) as e:  # no form, or in letters that nobody knows
        raise SlackError("invalid_form_data") from e


def converted(given: Json, shape: type[T]) -> T:
    """The decoded body in its shape. Raises 400 that names the field."""
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError as e:
        raise bad_request(f"The body does not fit: {e}.") from e


def query(request: web.Request, name: str) -> str:
    """A value of the address. Raises 400 where it is missing."""
    try:
        return request.query[name]
    except KeyError as e:
        raise bad_request(f"Give {name} in the address.") from e
