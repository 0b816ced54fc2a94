"""The buttons under our messages: what stands in their `action_id` and `value`, and how it is read back."""

from typing import Annotated, Literal

import msgspec

from schemas.keys import InvalidKey, SessionKey, token

STOP = "threadmill.stop"
CONTINUE = "threadmill.continue"
DETAILS = "threadmill.details"
ANSWER = "threadmill.answer."

PERMISSION_CHOICES = ("allow_once", "allow_session", "deny")
# Slack's own limits: a value of 2,000 characters, 25 elements in one block.
MOST_VALUE = 2_000
MOST_CHOICES = 25


class InvalidButton(ValueError):
    """A press that is none of ours or was tampered with; nothing was done with it."""


class Button(msgspec.Struct, frozen=True):
    """What Slack keeps of a button: give both to the block as they are."""

    action_id: str
    value: str


class Pressed(msgspec.Struct, frozen=True, kw_only=True):
    """A press read back. `question` and `choice` are set for an answer alone."""

    what: Literal["stop", "continue", "details", "answer"]
    key: SessionKey
    question: str = ""
    choice: str = ""


Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_VALUE)]


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    k: Text
    q: str = ""
    c: str = ""


def stop(key: SessionKey) -> Button:
    """Return the Stop button of a session."""
    return _button(STOP, _Value(str(key)))


def proceed(key: SessionKey) -> Button:
    """Return the Continue button of a session."""
    return _button(CONTINUE, _Value(str(key)))


def details(key: SessionKey) -> Button:
    """Return the Details button of a session."""
    return _button(DETAILS, _Value(str(key)))


def answer(key: SessionKey, question: str, place: int, choice: str) -> Button:
    """Return the button for `choice`, at `place` (from 0) among a question's. Raises `InvalidButton`, `InvalidKey`."""
    if not 0 <= place < MOST_CHOICES:
        raise InvalidButton(f"a question has at most {MOST_CHOICES} buttons, there is none at {place}")
    if not choice:
        raise InvalidButton("a choice without a text cannot be pressed")
    return _button(f"{ANSWER}{place}", _Value(str(key), token(question), choice))


def _button(action_id: str, value: _Value) -> Button:
    text = msgspec.json.encode(value).decode()
    if len(text) > MOST_VALUE:
        raise InvalidButton(f"a button holds {MOST_VALUE} characters, these are {len(text)}")
    return Button(action_id, text)


_SIMPLE: dict[str, Literal["stop", "continue", "details"]] = {
    STOP: "stop",
    CONTINUE: "continue",
    DETAILS: "details",
}


def read(action_id: str, value: str) -> Pressed:
    """Return what was pressed. Raises `InvalidButton`."""
    try:
        return _read(action_id, value)
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidKey) as e:
        raise InvalidButton(f"the value of {action_id[:80]!r} is none of ours: {e}") from e


def _read(action_id: str, value: str) -> Pressed:
    if len(value) > MOST_VALUE:
        raise InvalidButton(f"a button holds {MOST_VALUE} characters, these are {len(value)}")
    found = msgspec.json.decode(value, type=_Value)
    key = SessionKey.parse(found.k)
    if what := _SIMPLE.get(action_id):
        return Pressed(what=what, key=key)
    place = action_id.removeprefix(ANSWER)
    if place == action_id or not (place.isascii() and place.isdecimal() and int(place[:3]) < MOST_CHOICES):
        raise InvalidButton(f"{action_id[:80]!r} is no button of ours")
    if not found.c:
        raise InvalidButton("an answer without a choice")
    return Pressed(what="answer", key=key, question=token(found.q), choice=found.c)
