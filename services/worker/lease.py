"""The session's lease: taken once, renewed while the worker lives, given up at the end."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from schemas.buckets import Lease
from schemas.bus import LEASES
from schemas.keys import SessionKey
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus
from services.runtime.errors import NOT_NOW, Closed, Conflict, Unavailable

log = structlog.get_logger(__name__)

RENEW_SECONDS = 5.0
RETRY_SECONDS = 0.5
# Longer than one attempt: what the first one stored unheard, the next one knows for ours.
ANSWER_SECONDS = 2.0
# Past this age of the last renewal nothing is pushed any more: the lease may be somebody else's soon.
FRESH_SECONDS = 10.0
# How soon one looks again at a session that a scheduler holds: it does for a moment, unless it has died.
LOOK_AGAIN_SECONDS = 0.05


Unmoved = Callable[[], Awaitable[bool]]
Patient = Callable[[], bool]


class LeaseLost(Exception):
    """Somebody else works on the session now, or will, since our connection is closed; everything here ends silently."""


class Occupied(Exception):
    """A scheduler holds the session, for longer than could be waited."""


class HeldLease:
    """A lease that this `holder` holds. `token` is its creation revision: what fences older holders.

    Its life began when it was `taken`, by the monotonic clock; `revision` is its last one where it was renewed since. The
    session's last `out` was at sequence `follows` before: whoever takes the lease from us claims the session after that.
    """

    def __init__(
        self,
        bucket: Bucket[Lease],
        key: SessionKey,
        holder: str,
        token: int,
        taken: float,
        *,
        follows: int,
        revision: int | None = None,
    ) -> None:
        self._bucket = bucket
        self._key = str(key)
        self._lease = Lease(holder=holder, token=token)
        self._revision = token if revision is None else revision
        self.token = token
        self.holder = holder
        self.follows = follows
        self._renewed = taken
        self._one_at_a_time = asyncio.Lock()

    def fresh(self) -> bool:
        """Whether the last renewal is recent enough to push by."""
        return time.monotonic() - self._renewed < FRESH_SECONDS

    async def confirm(self) -> None:
        """Renew it now: it is ours, by the broker's word. Raises `LeaseLost`, and `Unavailable` without a word."""
        if not await self._renew(_moved):
            raise Unavailable(f"the lease of {self._key} could not be renewed yet")

    async def renew_for_ever(self, unmoved: Unmoved) -> None:
        """Renew in time, waiting out a broker that is away. Raises `LeaseLost`.

        A key that is gone is created again as long as the session's log is `unmoved`: nobody wrote but us.
        """
        due = self._renewed + RENEW_SECONDS
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            renewed = await self._renew(unmoved)
            due = time.monotonic() + (RENEW_SECONDS if renewed else RETRY_SECONDS)

    async def _renew(self, unmoved: Unmoved) -> bool:
        async with self._one_at_a_time:
            return await self._renew_alone(unmoved)

    async def _renew_alone(self, unmoved: Unmoved) -> bool:
        began = time.monotonic()
        try:
            self._revision = await self._bucket.put(
                self._key, self._lease, self._revision, deadline=ANSWER_SECONDS
            )
        except Conflict as e:
            return await self._reclaim(unmoved, e.last)
        except Closed as e:
            raise LeaseLost(self._key) from e
        except NOT_NOW:
            return False
        self._renewed = began
        return True

    async def _reclaim(self, unmoved: Unmoved, told: int) -> bool:
        with contextlib.suppress(Unavailable):
            if not await self._still_ours(unmoved, told):
                raise LeaseLost(self._key)
        return False

    async def _still_ours(self, unmoved: Unmoved, told: int) -> bool:
        """Tell whether the next write may be ours, which then expects what is there. Raises `Unavailable`."""
        entry = await self._bucket.get(self._key, told)
        # After an outage longer than its life the key is gone; whoever claimed since then has moved the log.
        if not (self._is_ours(entry) or (entry.value is None and await unmoved())):
            return False
        self._revision = entry.revision
        return True

    def _is_ours(self, entry: Entry[Lease]) -> bool:
        lease = entry.value
        return (
            lease is not None
            and lease.holder == self.holder
            and (lease.token or entry.revision) == self.token
        )

    async def release(self) -> None:
        """Give the lease up, if it is still ours and the broker answers."""
        with contextlib.suppress(*NOT_NOW):
            for _ in range(2):
                try:
                    await self._bucket.delete(self._key, self._revision)
                except Conflict as e:
                    if await self._still_ours(_moved, e.last):
                        continue
                return


async def _moved() -> bool:
    return False


async def last_out(bus: Bus, key: SessionKey, told: int = 0) -> int:
    """Return the sequence of the session's last `out`, 0 for none, where the broker `told` of one. Raises `Unavailable`."""
    last = await bus.last("SESSIONS", f"session.{key}.out", at_least=told)
    return last.sequence if last else 0


async def acquire(
    bus: Bus, key: SessionKey, holder: str, patient: Patient = lambda: True, *, new: bool = False
) -> HeldLease | None:
    """Take the lease of `key`; None when another worker holds it. Raises `Unavailable` and `StreamFull`.

    While a scheduler holds it, waits as long as we are `patient`, then raises `Occupied`. In a session that is most likely `new`
    nobody looks first: where something is there, the broker refuses the claim.
    """
    bucket, follows = Bucket(bus, LEASES.name, Lease), 0 if new else await last_out(bus, key)
    while True:
        # Its life may have begun any time from here on: an answer can be lost, and come late.
        taken = time.monotonic()
        try:
            token = await bucket.create(str(key), Lease(holder=holder))
            return HeldLease(bucket, key, holder, token, taken, follows=follows)
        except Conflict as e:
            entry = await bucket.get(str(key), e.last)
        # Whoever held it may be gone by the time we look: a scheduler often is.
        held = entry.value
        if held and held.holder == holder:
            with contextlib.suppress(Conflict):  # it ran out
                return await _ours(bucket, key, held, entry.revision, follows)
        elif held and not held.is_schedulers:
            return None
        else:
            await _left_by_schedulers(bucket, key, patient)


async def _left_by_schedulers(bucket: Bucket[Lease], key: SessionKey, patient: Patient) -> None:
    pause = LOOK_AGAIN_SECONDS
    while (held := (await bucket.get(str(key))).value) and held.is_schedulers:
        if not patient():
            raise Occupied(f"{held.holder} holds {key}")
        await asyncio.sleep(pause)
        pause = min(2 * pause, RETRY_SECONDS)


async def _ours(
    bucket: Bucket[Lease], key: SessionKey, held: Lease, revision: int, follows: int
) -> HeldLease:
    """Return the lease that we took though no answer came. Raises `Conflict` where it is gone meanwhile."""
    taken, lease = time.monotonic(), Lease(holder=held.holder, token=held.token or revision)
    # Nobody knows how much of its life is left.
    renewed = await bucket.put(str(key), lease, revision)
    return HeldLease(bucket, key, held.holder, lease.token, taken, revision=renewed, follows=follows)
