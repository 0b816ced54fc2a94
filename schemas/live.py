"""`live`: what is happening this moment. Core NATS, never stored: losing one loses nothing."""

from schemas.base import Family, Message
from schemas.keys import SessionKey


class Live(Message, frozen=True, kw_only=True):
    """What is happening this moment: losing one loses nothing. Readers drop those of an older `lease`.

    0 is the scheduler's word of a turn that nobody had yet; of one that was lost, it names the lease that it was lost with.
    """

    lease: int
    turn: int

    @staticmethod
    def subject(key: SessionKey) -> str:
        """Return `live.<key>`."""
        return f"live.{key}"


class TextDelta(Live, frozen=True, kw_only=True):
    """Text of block `block` from character `offset` on."""

    block: int
    offset: int
    text: str


class Status(Live, frozen=True, kw_only=True):
    """What the session is busy with, as people read it: "is thinking..."."""

    text: str


class ResourceSample(Live, frozen=True, kw_only=True):
    """What the worker uses. CPU in cores, memory and free disk in bytes, the time that the turn has left in seconds.

    None where there is no limit, and no turn.
    """

    cpu: float
    memory: int
    memory_limit: int | None = None
    disk_free: int = 0
    seconds_left: int | None = None


LIVES = Family.of(TextDelta, Status, ResourceSample)
