"""The workers: enough of them for every start, a few more that wait, and never too many."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.capacity import Headcount, has_room, to_launch
from services.scheduler.dismissal import Dismissal
from services.scheduler.grants import Grants
from services.scheduler.launcher import Launcher, LaunchFailed
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.metrics import HELD_UP, LAUNCHES
from services.scheduler.settings import SchedulerSettings

log = structlog.get_logger(__name__)

# After a worker that never got to work the next one is launched later and later, up to this many seconds.
MOST_BACKOFF = 10.0
FIRST_BACKOFF = 0.25
# A warm worker that was just taken is replaced this many seconds later: on one machine both want the same processors.
REPLACE_AFTER = 2.0
# How often it is looked whether a place that was full has room again.
FULL_AGAIN = 1.0


class Staff:
    """Launches workers as they are needed, and tells of those that died while they held a lease.

    `trouble` is a clause that says why workers do not come, empty where they do. `on_trouble` hears when it changes, with
    each turn that waits for one.
    """

    def __init__(
        self,
        launcher: Launcher,
        rules: SchedulerSettings,
        *,
        memories: Memories,
        leases: Leases,
        grants: Grants,
        dismissal: Dismissal,
        on_exit: Callable[[], None],
        on_trouble: Callable[[SessionKey, OpenTurn], None],
    ) -> None:
        self._launcher = launcher
        self._rules = rules
        self._memories = memories
        self._leases = leases
        self._grants = grants
        self._dismissal = dismissal
        self._on_exit = on_exit
        self._on_trouble = on_trouble
        self._published: dict[SessionKey, tuple[int, int]] = {}
        self._used: set[str] = set()
        self._unproven: set[str] = set()
        self._gone: deque[str] = deque(maxlen=1000)
        self.trouble = ""
        self._reserved: set[SessionKey] = set()
        self._wanted = asyncio.Event()
        self._failures = 0
        self._last_start = -REPLACE_AFTER
        self.closed = False

    def published(self, key: SessionKey, turn: OpenTurn) -> bool:
        """Tell whether this replica published the start of `turn` that is under way."""
        return self._published.get(key) == (turn.turn, turn.start)

    def started(self, key: SessionKey, turn: OpenTurn) -> None:
        """A start of `turn` was published here: see that a worker is there for it."""
        self._published[key] = (turn.turn, turn.start)
        self._last_start = asyncio.get_running_loop().time()
        self._wanted.set()

    def forget(self, key: SessionKey) -> None:
        """No turn of the session is open."""
        self._published.pop(key, None)

    def is_drained(self) -> bool:
        """Tell whether the next start has to wait for a worker that is still to be launched, or to come."""
        count = self._count()
        coming = set(self._launcher.coming()) - self._used - set(self._launcher.leaving())
        return count.spare - len(coming) < count.started_here

    def has_room(self) -> bool:
        """Tell whether one more turn may start."""
        count, most = self._count(), self._rules.max_workers
        if self._launcher.is_full():
            most = min(most, count.busy + count.spare)
        return not self.closed and has_room(count, most)

    def reserve(self, key: SessionKey) -> bool:
        """Keep a place for a start of `key` until its memory says so; False when there is none."""
        self._reserved.discard(key)
        if self.has_room():
            self._reserved.add(key)
            return True
        return False

    def release(self, key: SessionKey) -> None:
        """The place is taken by the memory now, or not needed."""
        self._reserved.discard(key)

    def lease_changed(self, key: SessionKey) -> None:
        """Take notice of who works; a holder that is known to be dead has lost its lease."""
        held = self._leases.held(key)
        if held and not held.ours:
            self._working(key, held.holder)
            self._unproven.discard(held.holder)
            self._failures = 0
            if held.holder in self._gone:
                self._leases.died(key, held)
        elif gone := self._leases.departed(key):
            self._dismissal.see_off(key, gone.held.holder)
        self._wanted.set()

    async def make_room(self, places: int) -> None:
        """Ask workers that only wait for their thread's next input to leave, so that `places` others may start."""
        active = {key for key, _ in self._memories.active()}
        idle = [(key, held) for key, held in self._leases.by_workers() if key not in active]
        for key, held in sorted(idle, key=lambda each: each[1].since)[:places]:
            await self._dismissal.retire(key, held.holder)

    async def run(self) -> None:
        """Launch what is missing and hear of exits, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._launcher.run(), name="workers")
            await self._adopt()
            self._wanted.set()
            tasks.create_task(self._troubles(), name="troubles")
            tasks.create_task(self._launching(), name="launching")
            tasks.create_task(self._burying(), name="exits")
            tasks.create_task(self._dismissal.run(), name="leaving")

    async def close(self, grace: float) -> None:
        """Launch nothing more, and let all workers hand over within `grace` seconds."""
        self.closed = True
        await self._launcher.terminate_all(grace)

    async def _adopt(self) -> None:
        """Take over what there is."""
        await self._launcher.recover()
        for key, held in self._leases.by_workers():
            self._working(key, held.holder)

    async def _renew(self) -> None:
        """Ask whoever was launched by an earlier release to leave, unless it works."""
        for name in set(self._launcher.outdated()) - self._used - set(self._launcher.leaving()):
            try:
                await self._launcher.retire(name)
            except Unavailable as e:  # it is asked again at whatever happens next
                log.warning("a worker of an earlier release stays for now", worker=name, error=str(e))

    def _working(self, key: SessionKey, holder: str) -> None:
        if holder in self._launcher.workers():
            self._used.add(holder)
            self._launcher.working(holder, key)

    async def _launching(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._renew()
            if self._failures:
                await asyncio.sleep(min(MOST_BACKOFF, FIRST_BACKOFF * 2 ** (self._failures - 1)))
            if self._may_wait():
                asyncio.get_running_loop().call_later(REPLACE_AFTER, self._wanted.set)
                continue
            if self._launcher.is_full():
                asyncio.get_running_loop().call_later(FULL_AGAIN, self._wanted.set)
                continue
            if not self.closed and to_launch(self._count(), self._rules.max_workers, self._rules.warm):
                await self._launch()
                self._wanted.set()

    def _may_wait(self) -> bool:
        """Tell whether a start is under way that found its worker: only the warm one's replacement is missing."""
        since = asyncio.get_running_loop().time() - self._last_start
        return since < REPLACE_AFTER and not self.is_drained()

    async def _launch(self) -> None:
        try:
            self._unproven.add(await self._launcher.launch(self._rules.pool))
            LAUNCHES.labels("made").inc()
        except LaunchFailed as e:
            LAUNCHES.labels("failed").inc()
            self._failures += 1
            log.warning("no worker could be launched", error=str(e))

    async def _troubles(self) -> None:
        async for trouble in self._launcher.troubles():
            log.warning("workers do not come" if trouble else "workers come again", reason=trouble)
            self.trouble = trouble
            HELD_UP.set(bool(trouble))
            for key, turn in self._starting():
                self._on_trouble(key, turn)

    async def _burying(self) -> None:
        async for gone in self._launcher.exited():
            name = gone.name
            self._gone.append(name)
            if name in self._unproven:
                self._failures = min(self._failures + 1, 10)
            self._used.discard(name)
            self._unproven.discard(name)
            self._dismissal.forget(name)
            for key, held in self._leases.by_workers():
                if held.holder == name:
                    self._leases.died(key, held, gone.reason)
            self._wanted.set()
            self._on_exit()
            try:
                await self._grants.end(name)
            except Unavailable as e:  # its credential ends with its time
                log.warning("a worker's grant is not ended", worker=name, error=str(e))

    def _count(self) -> Headcount:
        holders = {held.holder for _, held in self._leases.by_workers()}
        starting = self._starting()
        running, told = set(self._launcher.workers()), set(self._launcher.leaving())
        shared = self._launcher.shared
        return Headcount(
            busy=len(holders),
            starting=len(self._reserved.union(key for key, _ in starting)),
            started_here=sum(shared or self.published(key, turn) for key, turn in starting),
            spare=len(running - self._used - told),
            leaving=len((running & (self._used | told)) - holders),
        )

    def _starting(self) -> list[tuple[SessionKey, OpenTurn]]:
        return [
            (key, memory.open)
            for key, memory in self._memories.active()
            if memory.open and self._starts(key, memory.open)
        ]

    def _starts(self, key: SessionKey, turn: OpenTurn) -> bool:
        until = turn.starting_until
        return until is not None and until > now() and self._leases.held(key) is None
