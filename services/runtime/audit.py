"""The audit trail: one entry per act, stored before the act is acknowledged to whoever did it."""

from schemas.operations import Audited
from services.runtime.bus import Bus, Draft


async def audit(bus: Bus, entry: Audited, *, once: str) -> None:
    """Store `entry`; of a repetition, `once` tells that it is the same act: it is part of the entry's id.

    The broker refuses the same id for two minutes, readers of the trail know it again for ever. Raises `Unavailable`.
    """
    draft = Draft(
        subject=entry.subject(),
        message=entry,
        session=entry.session,
        id=f"{entry.did}/{entry.session}/{once}",
    )
    await bus.publish(draft)
