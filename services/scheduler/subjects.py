"""What the scheduler hears: subjects of the log and the messages in them. Pure."""

import msgspec

from schemas.base import MalformedMessage, Message, Unknown
from schemas.ends import ENDS, TurnEnd
from schemas.inputs import CONTROLS, INPUTS, Said
from schemas.keys import InvalidKey, SessionKey, token

FAMILIES = {"in": INPUTS, "control": CONTROLS, "end": ENDS}


class Heard(msgspec.Struct, frozen=True):
    """A message at its place in the log; `first` where it is known that the session's log begins with it."""

    sequence: int
    message: Message | Unknown
    first: bool = False


def key_of(subject: str) -> SessionKey:
    """Return the session of `session.<key>.<leaf>...`. Raises `InvalidKey`."""
    return SessionKey.parse(".".join(subject.split(".")[1:4]))


def decode(subject: str, payload: bytes) -> Message | Unknown:
    """Return the message that `subject` holds. Raises `MalformedMessage`."""
    message = FAMILIES[subject.split(".")[4]].decode(payload)
    if isinstance(message, Said | TurnEnd):
        _check(message)
    return message


def _check(message: Said | TurnEnd) -> None:
    # Their quota is kept under it.
    try:
        token(message.user.id)
    except InvalidKey as e:
        raise MalformedMessage(f"the person's id is no name: {e}") from e
