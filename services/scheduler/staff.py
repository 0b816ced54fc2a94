"""The workers: enough of them for every start, a few more that wait, and never too many."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from schemas.buckets import OpenTurn
from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.dismissal import Dismissal
from services.scheduler.grants import Grants
from services.scheduler.hiring import Hiring
from services.scheduler.launcher import Launcher
from services.scheduler.leases import Leases
from services.scheduler.memories import Memories
from services.scheduler.metrics import HELD_UP
from services.scheduler.roster import Roster

log = structlog.get_logger(__name__)

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
        *,
        hiring: Hiring,
        roster: Roster,
        memories: Memories,
        leases: Leases,
        grants: Grants,
        dismissal: Dismissal,
        on_exit: Callable[[], None],
        on_trouble: Callable[[SessionKey, OpenTurn], None],
    ) -> None:
        self._launcher = launcher
        self.roster = roster
        self._memories = memories
        self._leases = leases
        self._grants = grants
        self._dismissal = dismissal
        self._on_exit = on_exit
        self._on_trouble = on_trouble
        self._claims: asyncio.Queue[tuple[SessionKey, str]] = asyncio.Queue()
        self._gone: deque[str] = deque(maxlen=1000)
        self.trouble = ""
        self._hiring = hiring
        self.adopted = asyncio.Event()

    def look(self) -> None:
        """A start is about to be published: one that a new worker is to take need not wait for that."""
        self._hiring.look()

    def started(self, key: SessionKey, turn: OpenTurn) -> None:
        """A start of `turn` was published here: see that a worker is there for it."""
        self.roster.publish(key, turn)
        self._hiring.look()

    def has_room(self) -> bool:
        """Tell whether one more turn may start."""
        return not self._hiring.closed and self.roster.has_room()

    def reserve(self, key: SessionKey) -> bool:
        """Keep a place for a start of `key` until its memory says so; False when there is none."""
        return not self._hiring.closed and self.roster.reserve(key)

    def is_held_up(self) -> bool:
        """Tell whether no worker could come yet, for no fault of one: no room for it, or more time is needed."""
        return self._launcher.is_full() or self._launcher.is_coming()

    def stand_in_line(self, turns: int) -> None:
        """So many turns wait for room now."""
        self._hiring.stand_in_line(turns)

    def lease_changed(self, key: SessionKey) -> None:
        """Take notice of who works; a holder that is known to be dead has lost its lease."""
        held = self._leases.held(key)
        if held and not held.ours:
            self._working(key, held.holder)
            self._hiring.works(held.holder)
            if held.holder in self._gone:
                self._leases.died(key, held)
        elif gone := self._leases.departed(key):
            self._dismissal.see_off(key, gone.held.holder)
        self._hiring.look()

    async def make_room(self, places: int) -> None:
        """Ask workers that only wait for their thread's next input to leave, so that `places` others may start.

        Raises `Unavailable`.
        """
        active = {key for key, _ in self._memories.active()}
        idle = [(key, held) for key, held in self._leases.by_workers() if key not in active]
        for key, held in sorted(idle, key=lambda each: each[1].since):
            if places > 0 and await self._leaves(key, held.holder):
                places -= 1

    async def _leaves(self, key: SessionKey, holder: str) -> bool:
        """Ask the holder of `key` to leave, once; False where it works, or is none of ours."""
        if self._dismissal.asked(holder):
            return True
        # Leases and memories come by two ways: a session may be heard to be held before it is heard to be open.
        return await self._memories.is_idle(key) and await self._dismissal.retire(key, holder)

    async def run(self) -> None:
        """Launch what is missing and hear of exits, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._launcher.run(), name="workers")
            await self._adopt()
            self.adopted.set()
            tasks.create_task(self._proving(), name="claims")
            tasks.create_task(self._renew(), name="renewal")
            tasks.create_task(self._troubles(), name="troubles")
            tasks.create_task(self._hiring.run(), name="launching")
            tasks.create_task(self._burying(), name="exits")
            tasks.create_task(self._dismissal.run(), name="leaving")

    async def close(self, grace: float) -> None:
        """Launch nothing more, and let all workers hand over within `grace` seconds."""
        self._hiring.close()
        await self._launcher.terminate_all(grace)

    async def _adopt(self) -> None:
        """Take over what there is."""
        await self._launcher.recover()
        for key, held in self._leases.by_workers():
            self._working(key, held.holder)

    async def _renew(self) -> None:
        """Let those that an earlier release launched leave before they take any work."""
        while True:
            await self._hiring.let_go(set(self._launcher.outdated()) & self.roster.spare())
            await asyncio.sleep(RENEW_SECONDS)

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
                self._hiring.look()

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
            self._hiring.gone(name)
            self.roster.used.discard(name)
            self._dismissal.forget(name)
            for key, held in self._leases.by_workers():
                if held.holder == name:
                    self._leases.died(key, held, gone.reason)
            self._hiring.look()
            self._on_exit()
            try:
                await self._grants.end(name)
            except Unavailable as e:  # its credential ends with its time
                log.warning("a worker's grant is not ended", worker=name, error=str(e))
