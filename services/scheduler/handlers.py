"""What comes in: deliveries of the log."""

import structlog

from schemas.base import MalformedMessage
from schemas.keys import InvalidKey
from services.runtime.errors import Reject
from services.runtime.pull import Delivery
from services.scheduler.conductor import Conductor
from services.scheduler.subjects import Heard, decode, key_of

log = structlog.get_logger(__name__)


def lane_of(delivery: Delivery) -> str:
    """Return the session, whose messages are handled one after the other."""
    return ".".join(delivery.subject.split(".")[1:4])


class LogHandler:
    """Takes deliveries of the log."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor

    async def handle(self, delivery: Delivery) -> None:
        """Bring the session on; acknowledged when it is remembered. Raises `Reject`, `StreamFull`, `Unavailable`."""
        try:
            key = key_of(delivery.subject)
            message = decode(delivery.subject, delivery.data)
        except (InvalidKey, MalformedMessage) as e:
            raise Reject(str(e)) from e
        await self._conductor.advance(key, Heard(delivery.sequence, message))
