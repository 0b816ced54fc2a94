"""What operators read and ask: dead letters, the audit trail, whether a service answers."""

import msgspec

from schemas.base import Message, Moment, now

# The broker ends the connection of whoever writes a longer line than it allows, and a subject may be almost that long.
MAX_ORIGIN = 1000


class DeadLetter(Message, frozen=True, kw_only=True):
    """A message that could not be processed, whole, with the reason; `threadmill dead replay` sends it again.

    `payload` is text where it is UTF-8, else base64 in `payload_base64`.
    """

    service: str
    origin: str
    reason: str
    sequence: int = 0
    deliveries: int = 1
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    payload: str | None = None
    payload_base64: bytes | None = None
    at: Moment = msgspec.field(default_factory=now)

    def subject(self) -> str:
        """Return `dead.<service>.<subject that it came from>`, cut where that is long."""
        return f"dead.{self.service}.{self.origin[:MAX_ORIGIN].rstrip('.')}"


# The workspace of an act that concerns all of them; Slack's own ids are in capitals.
EVERY_TEAM = "all"


class Audited(Message, frozen=True, kw_only=True):
    """Somebody did something to a session, or to what a channel or a person prefers.

    `who` is Slack's id of a person, an operator's name on their machine, or the name of a service. `did` is one of
    `started`, `answered`, `stopped`, `continued`, `changed`, `read`, `exported`, `deleted`.
    """

    team: str
    who: str
    did: str
    session: str
    detail: str = ""
    at: Moment = msgspec.field(default_factory=now)

    def subject(self) -> str:
        """Return `audit.<team>.<what was done>`."""
        return f"audit.{self.team}.{self.did}"


class Ping(Message, frozen=True, kw_only=True):
    """Asks one of a service's replicas whether it works."""

    @staticmethod
    def subject(service: str) -> str:
        """Return `<service>.ping`."""
        return f"{service}.ping"


class Pong(Message, frozen=True, kw_only=True):
    """The answer to a `Ping`: the service works, and is of this version."""

    service: str
    release: str
