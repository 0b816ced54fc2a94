"""How many workers are launched, and when: what starts need at once, a replacement later, and later still after failures."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import chain

import structlog

from schemas.base import now
from services.scheduler.capacity import Headcount, surplus, to_launch
from services.scheduler.launcher import Launcher, LaunchFailed
from services.scheduler.leases import Leases
from services.scheduler.metrics import LAUNCHES
from services.scheduler.roster import Roster
from services.scheduler.settings import SchedulerSettings

log = structlog.get_logger(__name__)

# After a worker that never got to work the next one is launched later and later, up to this many seconds.
MOST_BACKOFF = 10.0
FIRST_BACKOFF = 0.25
MOST_FAILURES = 10
# A warm worker that was just taken is replaced so much later: on one machine both want the same processors.
REPLACE_AFTER = timedelta(seconds=2)
# A worker too many is kept for so long: it may be wanted in a moment.
SURPLUS_SECONDS = 30.0
# How often it is looked whether a place that was full has room again.
FULL_AGAIN = 1.0


class Hiring:
    """Launches what is missing in `roster`, and lets go what has been too many for a while, until it is closed."""

    def __init__(
        self, launcher: Launcher, rules: SchedulerSettings, *, roster: Roster, leases: Leases
    ) -> None:
        self._launcher = launcher
        self._rules = rules
        self._roster = roster
        self._leases = leases
        # Launched here, and not known to have got to work.
        self._unproven: set[str] = set()
        self._failures = 0
        self._in_line = 0
        self._wanted = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._surplus_since: float | None = None
        self._short_since: float | None = None
        self.closed = False

    def close(self) -> None:
        """Launch nobody any more."""
        self.closed = True

    def look(self) -> None:
        """Something changed: look whether there are enough."""
        self._wanted.set()

    def stand_in_line(self, turns: int) -> None:
        """So many turns wait for room now."""
        if turns != self._in_line:
            self._in_line = turns
            self.look()

    def works(self, name: str) -> None:
        """A worker came as far as to hold a lease."""
        self._unproven.discard(name)
        self._failures = 0

    def gone(self, name: str) -> None:
        """A worker is gone; one that never got to work has the next one launched later."""
        if name in self._unproven and not self._launcher.is_full():
            self._failed()
        self._unproven.discard(name)

    async def let_go(self, names: Iterable[str], *, at_once: bool = False) -> None:
        """Tell workers that hold nothing to leave, or end them `at_once`; it has no other one launched later."""
        for name in names:
            self._unproven.discard(name)
            await (self._launcher.kill(name) if at_once else self._launcher.retire(name))

    async def run(self) -> None:
        """See to it for ever."""
        self.look()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._failures:
                await asyncio.sleep(min(MOST_BACKOFF, FIRST_BACKOFF * 2 ** (self._failures - 1)))
            count = self._roster.count()
            if self.closed or not self._missing(count):
                await self._trim(surplus(count, self._rules.warm))
            elif self._may_wait():
                self._look_again(REPLACE_AFTER.total_seconds())
            elif not self._launcher.may_try():
                self._look_again(FULL_AGAIN)
            else:
                await self._launch()
                self.look()

    def _look_again(self, seconds: float) -> None:
        """Look again by then; one alarm is enough for all who ask."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._alarm and loop.time() < self._alarm.when() <= due:
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm = loop.call_at(due, self.look)

    def _missing(self, count: Headcount) -> int:
        """Return how many workers to launch; where it is full turns only wait in line, and one is tried for them."""
        tried = 1 if self._launcher.is_full() and self._in_line else 0
        return to_launch(count, self._rules.max_workers, max(self._rules.warm, tried))

    def _may_wait(self) -> bool:
        """Tell whether it is replacements alone that are missing, and not for long."""
        if self._roster.is_drained() or not self._was_taken():
            self._short_since = None
            return False
        at = asyncio.get_running_loop().time()
        self._short_since = self._short_since or at
        return at < self._short_since + REPLACE_AFTER.total_seconds()

    def _was_taken(self) -> bool:
        """Tell whether a worker was taken a moment ago, or is about to be, whichever replica published its start."""
        moment_ago, launch = now() - REPLACE_AFTER, self._rules.launch
        began = (turn.starting_until - launch for _, turn in self._roster.starting() if turn.starting_until)
        taken = (held.seen for _, held in self._leases.by_workers())
        return any(at > moment_ago for at in chain(began, taken))

    async def _launch(self) -> None:
        try:
            self._unproven.add(await self._launcher.launch(self._rules.pool))
            LAUNCHES.labels("made").inc()
        except LaunchFailed as e:
            LAUNCHES.labels("failed").inc()
            self._failed()
            log.warning("no worker could be launched", error=str(e))

    def _failed(self) -> None:
        self._failures = min(self._failures + 1, MOST_FAILURES)

    async def _trim(self, many: int) -> None:
        """Let `many` leave that nobody has needed for a while: there are to be fewer of them now, or two were made for one."""
        at, self._short_since = asyncio.get_running_loop().time(), None
        if not many:
            self._surplus_since = None
            return
        self._surplus_since = self._surplus_since or at
        if at < self._surplus_since + SURPLUS_SECONDS:
            self._look_again(self._surplus_since + SURPLUS_SECONDS - at)
            return
        self._surplus_since = None
        # Every replica picks the same ones, first those that are not there yet.
        coming = set(self._launcher.coming())
        spare = sorted(self._roster.spare(), key=lambda name: (name not in coming, name))
        await self.let_go(spare[:many])
