"""The common shape of every message: a Struct that knows its kind, its version and its subject."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Self, TypeVar

import msgspec

from schemas.keys import SessionKey

HEADER_SCHEMA = "Threadmill-Schema"
HEADER_SESSION = "Threadmill-Session"
HEADER_ID = "Nats-Msg-Id"
CONTENT_TYPE = "application/json"
MOST_SAID = 200

MOST_DOLLARS = 1_000_000.0
# What a turn costs in USD; no sum of such ever leaves the numbers that JSON can say.
Dollars = Annotated[float, msgspec.Meta(ge=0, le=MOST_DOLLARS)]
# A time that says where it is noon; one that does not cannot be compared with those that do.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def _kebab(name: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


class MalformedMessage(ValueError):
    """A payload that is no message of the expected kind; the sentence says where it is wrong."""


def _brief(error: Exception) -> str:
    """Return what is wrong, where the wrong value itself may be as long as the message."""
    whole = str(error)
    return whole if len(whole) <= 2 * MOST_SAID else f"{whole[:MOST_SAID]} … {whole[-MOST_SAID:]}"


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=_kebab):
    """A message on the bus. Its JSON carries `kind`, so that a person reading the stream knows what it is."""

    version: ClassVar[int] = 1

    @classmethod
    def kind(cls) -> str:
        """Return the name that stands in the payload's `kind`."""
        return str(cls.__struct_config__.tag)

    @classmethod
    def schema(cls) -> str:
        """Return `<kind>/<version>`, as the header says it."""
        return f"{cls.kind()}/{cls.version}"

    def encode(self) -> bytes:
        """Return the JSON payload."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Return the message in `payload`. Raises `MalformedMessage`."""
        try:
            return msgspec.json.decode(payload, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise MalformedMessage(f"not a {cls.kind()}: {_brief(e)}") from e


class Unknown(msgspec.Struct, frozen=True):
    """A message of a kind that this version does not know: kept, passed over, never guessed at."""

    kind: str


class _Kind(msgspec.Struct):
    kind: str


_KIND = msgspec.json.Decoder(_Kind)

M = TypeVar("M", bound=Message)


class Family(msgspec.Struct, frozen=True):
    """The messages that share one subject; decoding looks at `kind` and tolerates kinds still to come."""

    members: dict[str, type[Message]]

    @classmethod
    def of(cls, *types: type[Message]) -> Self:
        """Return the family of `types`."""
        return cls({t.kind(): t for t in types})

    def decode(self, payload: bytes) -> Message | Unknown:
        """Return the message in `payload`, or `Unknown`. Raises `MalformedMessage`."""
        try:
            kind = _KIND.decode(payload).kind
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise MalformedMessage(f"not a message: {_brief(e)}") from e
        member = self.members.get(kind)
        return member.decode(payload) if member else Unknown(kind)


class SessionMessage(Message, frozen=True, kw_only=True):
    """A message of one session. The session stands in the subject, not in the payload."""

    leaf: ClassVar[str]

    def subject(self, key: SessionKey) -> str:
        """Return the subject of this message in the session `key`."""
        return f"session.{key}.{self.leaf}"
