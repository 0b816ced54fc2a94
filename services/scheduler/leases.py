"""Who holds which session: a watch on the leases with timers of its own, since an expiry tells nobody."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.base import now
from schemas.buckets import SCHEDULERS, Lease
from schemas.bus import LEASE_LIFE, LEASES
from schemas.keys import InvalidKey, SessionKey, token
from services.runtime.bucket import Bucket, Entry
from services.runtime.bus import Bus
from services.runtime.errors import Conflict, Unavailable
from services.scheduler.core import Departed, Held

LOOK_SECONDS = 0.25
SILENT = "it gave no sign of life any more"
# How many departures are remembered; each is needed for a moment only.
DEPARTURES = 10_000


class Leases:
    """The leases as they stand; `on_change` hears of sessions whose lease came, went or changed hands."""

    def __init__(self, bus: Bus, name: str, on_change: Callable[[SessionKey], None]) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, LEASES.name, Lease)
        self._name = SCHEDULERS + name
        self._on_change = on_change
        self._held: dict[SessionKey, Held] = {}
        self._due: dict[SessionKey, datetime] = {}
        self._departed: dict[SessionKey, Departed] = {}
        self._unburied: dict[SessionKey, Held] = {}
        self.patient_until = now() + timedelta(seconds=LEASE_LIFE)
        self.loaded = asyncio.Event()

    @property
    def name(self) -> str:
        """The holder's name under which this replica takes leases."""
        return self._name

    def held(self, key: SessionKey) -> Held | None:
        """Return the lease of `key`."""
        return self._held.get(key)

    def departed(self, key: SessionKey) -> Departed | None:
        """Return the last lease of `key` that went, if it is known how."""
        return self._departed.get(key)

    def missed_since(self, at: datetime) -> bool:
        """Tell whether the broker was away at some time after `at`, which is one of this process."""
        return self.patient_until > at + timedelta(seconds=LEASE_LIFE)

    def by_workers(self) -> list[tuple[SessionKey, Held]]:
        """Return the leases that workers hold."""
        return [(key, held) for key, held in self._held.items() if not held.ours]

    async def take(self, key: SessionKey) -> int | None:
        """Take the lease; return its token, None when somebody holds it. Raises `Unavailable`."""
        try:
            return await self._bucket.create(str(key), Lease(holder=self._name))
        except Conflict:
            self._learn(key, await self._bucket.get(str(key)))
            return None

    async def confirm(self, key: SessionKey, token: int) -> None:
        """Renew the lease `token` of ours. Raises `Conflict` where somebody else has it, or nobody, and `Unavailable`."""
        entry = await self._bucket.get(str(key))
        if entry.value is None or _held(entry).token != token:
            raise Conflict(f"the lease {token} of {key} is gone", entry.revision)
        await self._bucket.put(str(key), Lease(holder=self._name, token=token), entry.revision)

    async def release(self, key: SessionKey, token: int) -> None:
        """Give the lease `token` of ours back; one that is gone already is no error. Raises `Unavailable`."""
        await self._delete(key, token)

    async def _delete(self, key: SessionKey, token: int) -> None:
        while True:
            entry = await self._bucket.get(str(key))
            if entry.value is None or _held(entry).token != token:
                return
            with contextlib.suppress(Conflict):
                await self._bucket.delete(str(key), entry.revision)

    def died(self, key: SessionKey, held: Held, reason: str = "") -> None:
        """Remember that the holder is dead, whatever the bucket says; `bury` then deletes its lease."""
        self._unburied[key] = held
        self._depart(key, Departed(held=held, how="died", reason=reason))

    async def bury(self, key: SessionKey) -> None:
        """Delete the lease of a holder that died, if there is one. Raises `Unavailable`."""
        while held := self._unburied.get(key):
            await self._delete(key, held.token)
            if self._unburied.get(key) is held:
                del self._unburied[key]

    async def run(self) -> None:
        """Follow the bucket and its expiries for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="leases watch")
            tasks.create_task(self._expire(), name="leases expiry")

    async def _watch(self) -> None:
        async for entry in self._bucket.watch():
            if entry is None:
                self.loaded.set()
                continue
            with contextlib.suppress(InvalidKey):  # a holder, who writes its own name, may write anything
                token(entry.value.holder if entry.value else "nobody")
                self._learn(SessionKey.parse(entry.key), entry)

    def _learn(self, key: SessionKey, entry: Entry[Lease]) -> None:
        known = self._held.get(key)
        if entry.value is None:
            if known and known.revision < entry.revision:
                self._depart(key, Departed(held=known, how="released"))
            return
        held = _held(entry, known)
        if known and known.revision >= held.revision:
            return
        if self._is_dead(key, held):
            # Who was given up and goes on all the same may create its lease again.
            self._unburied[key] = held
            return
        self._held[key] = held
        self._due[key] = now() + timedelta(seconds=LEASE_LIFE + LOOK_SECONDS)
        if known is None or known.token != held.token:
            self._tell(key, held)

    def _is_dead(self, key: SessionKey, held: Held) -> bool:
        gone = self._departed.get(key)
        return gone is not None and gone.how == "died" and gone.held.token == held.token

    def _depart(self, key: SessionKey, departed: Departed) -> None:
        self._held.pop(key, None)
        self._due.pop(key, None)
        self._departed.pop(key, None)
        self._departed[key] = departed
        if len(self._departed) > DEPARTURES:
            self._departed.pop(next(iter(self._departed)))
        self._tell(key, departed.held)

    def _tell(self, key: SessionKey, held: Held) -> None:
        # What this replica does with its own leases is no news to it.
        if held.holder != self._name:
            self._on_change(key)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._bus.connected:
                self._be_patient()
            due = [key for key, at in self._due.items() if at <= now()]
            if due and now() >= self.patient_until:
                await self._look_again(due)

    async def _look_again(self, keys: list[SessionKey]) -> None:
        try:
            for key in keys:
                entry = await self._bucket.get(str(key))
                if entry.value:
                    self._learn(key, entry)
                elif held := self._held.get(key):
                    self._depart(key, Departed(held=held, how="expired", reason=SILENT))
        except Unavailable:
            self._be_patient()

    def _be_patient(self) -> None:
        # The broker was away: holders could not renew, and get one lease's life to come back.
        self.patient_until = now() + timedelta(seconds=LEASE_LIFE)


def _held(entry: Entry[Lease], known: Held | None = None) -> Held:
    """Return the lease in `entry`, which follows the `known` one."""
    assert entry.value is not None
    token, ours = entry.value.token or entry.revision, entry.value.is_schedulers
    # One scheduler deletes its lease before the next one takes it: the name without a break is one holder's.
    goes_on = known is not None and (known.token == token or (known.ours and ours))
    return Held(
        token=token,
        holder=entry.value.holder,
        revision=entry.revision,
        since=entry.value.since,
        ours=ours,
        seen=known.seen if known and goes_on else now(),
    )
