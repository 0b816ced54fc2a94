"""Being the holder of a session for a moment: take the lease, claim like anybody, write, release."""

import contextlib
from collections.abc import AsyncIterator

from schemas.bus import SESSIONS
from schemas.events import Claimed
from schemas.keys import SessionKey
from services.runtime.bus import Bus, Draft, Fence
from services.runtime.errors import NOT_NOW, Conflict
from services.scheduler.leases import Leases


class Holding:
    """The session `key`, whose lease is ours. Whoever takes it from us claims the session after `follows`."""

    def __init__(self, bus: Bus, leases: Leases, key: SessionKey, lease: int, follows: int) -> None:
        self._bus = bus
        self._leases = leases
        self.key = key
        self._lease = lease
        self._follows = follows

    async def claim(self, *, turn: int = 0, attempt: int = 1) -> int:
        """Claim the session; return where.

        Raises `Conflict` where somebody else has the lease, `StreamFull` and `Unavailable`.
        """
        claim = Claimed(turn=turn, lease=self._lease, holder=self._leases.name, attempt=attempt)
        while True:
            draft = Draft(
                subject=claim.subject(self.key),
                message=claim,
                session=str(self.key),
                fence=Fence(self._follows),
            )
            try:
                return await self._bus.publish(draft)
            except Conflict:
                self._follows = await last_out(self._bus, self.key)
                # Whoever held the lease before wrote once more; where it is not ours any more, somebody else did.
                await self._leases.confirm(self.key, self._lease)


@contextlib.asynccontextmanager
async def holding(bus: Bus, leases: Leases, key: SessionKey) -> AsyncIterator[Holding | None]:
    """Hold `key` for the body; None where somebody else does. Raises `StreamFull` and `Unavailable`."""
    follows = await last_out(bus, key)
    lease = await leases.take(key)
    if lease is None:
        yield None
        return
    try:
        yield Holding(bus, leases, key, lease, follows)
    finally:
        with contextlib.suppress(*NOT_NOW):
            await leases.release(key, lease)


async def last_out(bus: Bus, key: SessionKey) -> int:
    """Return the sequence of the session's last `out`, 0 for none. Raises `Unavailable`."""
    last = await bus.last(SESSIONS.name, f"session.{key}.out")
    return last.sequence if last else 0
