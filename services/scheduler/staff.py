"""The workers: enough of them for every start, a few more that wait, and never too many."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import chain

import structlog

from schemas.base import now
from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.capacity import surplus, to_launch
from services.scheduler.dismissal import Dismissal
from services.scheduler.grants import Grants
from services.scheduler.launcher import Launcher, LaunchFailed
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.metrics import HELD_UP, LAUNCHES
from services.scheduler.roster import Roster
from services.scheduler.settings import SchedulerSettings

log = structlog.get_logger(__name__)

# After a worker that never got to work the next one is launched later and later, up to this many seconds.
MOST_BACKOFF = 10.0
FIRST_BACKOFF = 0.25
# A warm worker that was just taken is replaced this many seconds later: on one machine both want the same processors.
REPLACE_AFTER = timedelta(seconds=2)
# A worker too many is kept for so long: it may be wanted in a moment.
SURPLUS_SECONDS = 30.0
# How often it is looked whether a place that was full has room again.
FULL_AGAIN = 1.0
# How often it is looked for workers of an earlier release, and a holder's name asked after that could not be proved.
RENEW_SECONDS = PROVE_AGAIN = 1.0


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
        roster: Roster,
        memories: Memories,
        leases: Leases,
        grants: Grants,
        dismissal: Dismissal,
        on_exit: Callable[[], None],
        on_trouble: Callable[[SessionKey, OpenTurn], None],
    ) -> None:
        self._launcher = launcher
        self._rules = rules
        self.roster = roster
        self._memories = memories
        self._leases = leases
        self._grants = grants
        self._dismissal = dismissal
        self._on_exit = on_exit
        self._on_trouble = on_trouble
        self._claims: asyncio.Queue[tuple[SessionKey, str]] = asyncio.Queue()
        self._unproven: set[str] = set()
        self._gone: deque[str] = deque(maxlen=1000)
        self.trouble = ""
        self._in_line = 0
        self._wanted = asyncio.Event()
        self._failures = 0
        self._surplus_since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self.closed = False

    def started(self, key: SessionKey, turn: OpenTurn) -> None:
        """A start of `turn` was published here: see that a worker is there for it."""
        self.roster.publish(key, turn)
        self._wanted.set()

    def has_room(self) -> bool:
        """Tell whether one more turn may start."""
        return not self.closed and self.roster.has_room()

    def reserve(self, key: SessionKey) -> bool:
        """Keep a place for a start of `key` until its memory says so; False when there is none."""
        return not self.closed and self.roster.reserve(key)

    def is_held_up(self) -> bool:
        """Tell whether no worker could come yet, for no fault of one: no room for it, or more time is needed."""
        return self._launcher.is_full() or self._launcher.is_coming()

    def stand_in_line(self, turns: int) -> None:
        """So many turns wait for room now."""
        if turns != self._in_line:
            self._in_line = turns
            self._wanted.set()

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
            tasks.create_task(self._proving(), name="claims")
            tasks.create_task(self._renew(), name="renewal")
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
        """Let those that an earlier release launched leave before they take any work."""
        while True:
            await self._let_go(set(self._launcher.outdated()) & self.roster.spare())
            await asyncio.sleep(RENEW_SECONDS)

    async def _let_go(self, names: Iterable[str]) -> None:
        for name in names:
            self._unproven.discard(name)
            await self._launcher.retire(name)

    def _working(self, key: SessionKey, holder: str) -> None:
        if holder in self._launcher.workers():
            self._claims.put_nowait((key, holder))

    async def _proving(self) -> None:
        """A lease gives its holder any name: who has had a session is known by where it was let in."""
        while True:
            key, holder = await self._claims.get()
            try:
                is_so = await self._grants.allow(holder, key)
            except Unavailable:
                loop = asyncio.get_running_loop()
                loop.call_later(PROVE_AGAIN, self._claims.put_nowait, (key, holder))
                continue
            if is_so and holder in self._launcher.workers():
                self.roster.used.add(holder)
                self._launcher.working(holder, key)
                self._wanted.set()

    async def _launching(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._failures:
                await asyncio.sleep(min(MOST_BACKOFF, FIRST_BACKOFF * 2 ** (self._failures - 1)))
            if self._may_wait():
                self._look_again(REPLACE_AFTER.total_seconds())
                continue
            if not self._launcher.may_try():
                self._look_again(FULL_AGAIN)
                continue
            if not self.closed and self._missing():
                await self._launch()
                self._wanted.set()
            else:
                await self._trim()

    def _look_again(self, seconds: float) -> None:
        """Look again by then; one alarm is enough for all who ask."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        if self._alarm and loop.time() < self._alarm.when() <= due:
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm = loop.call_at(due, self._wanted.set)

    def _missing(self) -> int:
        """Return how many workers to launch; where it is full turns only wait in line, and one is tried for them."""
        count, rules = self.roster.count(), self._rules
        tried = 1 if self._launcher.is_full() and self._in_line else 0
        return to_launch(count, rules.max_workers, max(rules.warm, tried))

    async def _trim(self) -> None:
        """Let workers leave that nobody has needed for a while: there are to be fewer of them now, or two were made for one."""
        loop, many = asyncio.get_running_loop(), surplus(self.roster.count(), self._rules.warm)
        if not many:
            self._surplus_since = None
        elif self._surplus_since is None:
            self._surplus_since = loop.time()
            self._look_again(SURPLUS_SECONDS)
        elif loop.time() >= self._surplus_since + SURPLUS_SECONDS:
            self._surplus_since = None
            # Every replica picks the same ones, first those that are not there yet.
            coming = set(self._launcher.coming())
            spare = sorted(self.roster.spare(), key=lambda name: (name not in coming, name))
            await self._let_go(spare[:many])

    def _may_wait(self) -> bool:
        """Tell whether the starts of a moment ago, whoever published them, have their workers: only replacements are missing."""
        moment_ago = now() - REPLACE_AFTER
        launch = self._rules.launch
        began = (turn.starting_until - launch for _, turn in self.roster.starting() if turn.starting_until)
        taken = (held.seen for _, held in self._leases.by_workers())
        return not self.roster.is_drained() and any(at > moment_ago for at in chain(began, taken))

    async def _launch(self) -> None:
        try:
            self._unproven.add(await self._launcher.launch(self._rules.pool))
            LAUNCHES.labels("made").inc()
        except LaunchFailed as e:
            LAUNCHES.labels("failed").inc()
            self._failures = min(self._failures + 1, 10)
            log.warning("no worker could be launched", error=str(e))

    async def _troubles(self) -> None:
        async for trouble in self._launcher.troubles():
            log.warning("workers do not come" if trouble else "workers come again", reason=trouble)
            self.trouble = trouble
            self._on_exit()
            HELD_UP.set(bool(trouble))
            for key, turn in self.roster.starting():
                self._on_trouble(key, turn)

    async def _burying(self) -> None:
        async for gone in self._launcher.exited():
            name = gone.name
            self._gone.append(name)
            if name in self._unproven and not self._launcher.is_full():
                self._failures = min(self._failures + 1, 10)
            self.roster.used.discard(name)
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
