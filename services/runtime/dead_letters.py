"""What cannot be processed, kept with its reason."""

import structlog

from schemas.bus import MAX_PAYLOAD
from schemas.operations import DeadLetter
from services.runtime.bus import Bus, Draft
from services.runtime.pull import Delivery

log = structlog.get_logger(__name__)

# JSON writes a control character as six bytes, and the letter has headers and a reason of its own.
MAX_LETTER = MAX_PAYLOAD // 8
MAX_REASON = 2000


async def bury(bus: Bus, service: str, delivery: Delivery, reason: str) -> None:
    """Store `delivery` as a dead letter with its reason. Raises `Unavailable`, `StreamFull` and `TooLarge`."""
    letter = dead_letter(service, delivery, reason)
    once = f"dead/{service}/{delivery.subject}/{delivery.sequence}"
    await bus.publish(Draft(subject=letter.subject(), message=letter, id=once))
    log.error("dead letter", subject=delivery.subject, sequence=delivery.sequence, reason=reason)


def dead_letter(service: str, delivery: Delivery, reason: str) -> DeadLetter:
    """Return the dead letter of `delivery`; one too large for a letter stays where it is, and the reason says so."""
    reason = reason[:MAX_REASON]
    text: str | None = None
    raw: bytes | None = None
    if len(delivery.data) > MAX_LETTER:
        reason += f" (its {len(delivery.data)} bytes are too many for a letter: read {delivery.subject} at {delivery.sequence})"
    else:
        try:
            text = delivery.data.decode()
        except UnicodeDecodeError:
            raw = delivery.data
    return DeadLetter(
        service=service,
        origin=delivery.subject,
        reason=reason,
        sequence=delivery.sequence,
        deliveries=delivery.deliveries,
        headers=dict(delivery.headers),
        payload=text,
        payload_base64=raw,
    )
