"""Ending workers: at once, or when they have handed over; and which ones, since a lease gives its holder any name."""

import asyncio

import structlog

from schemas.keys import SessionKey
from services.runtime.errors import Unavailable
from services.scheduler.grants import Grants
from services.scheduler.launcher import Launcher
from services.scheduler.leases import Leases

log = structlog.get_logger(__name__)

# As long as a worker may take from its grant to its lease: to ask, to connect, to create it while a broker fails over.
ENTERING_SECONDS = 20.0


class Dismissal:
    """Ends those of this replica's workers that hold a session; one without its lease is given `grace` seconds to leave."""

    def __init__(self, launcher: Launcher, grants: Grants, leases: Leases, grace: float) -> None:
        self._launcher = launcher
        self._grants = grants
        self._leases = leases
        self._grace = grace
        self._leaving: asyncio.Queue[tuple[SessionKey, str]] = asyncio.Queue()
        self._asked: set[str] = set()

    async def kill(self, key: SessionKey, holder: str) -> bool:
        """Kill the holder of `key` and all that it started; False where it is not known to be dead by that.

        Where the holder is no worker of ours by its name, each of ours that was let into the session is killed.
        Raises `Unavailable`.
        """
        if await self._is_ours(key, holder):
            return await self._launcher.kill(holder)
        for worker in await self._let_into(key):
            await self._launcher.kill(worker)
        return False

    def asked(self, holder: str) -> bool:
        """Tell whether `holder` was asked to leave, and is not gone yet."""
        return holder in self._asked

    async def retire(self, key: SessionKey, holder: str) -> bool:
        """Ask the holder of `key` to leave, once; False where it is none of ours. Raises `Unavailable`."""
        if (
            not self.asked(holder)
            and await self._is_ours(key, holder)
            and await self._launcher.retire(holder)
        ):
            self._asked.add(holder)
        return self.asked(holder)

    def see_off(self, key: SessionKey, former: str) -> None:
        """`former` lost the lease of `key`: it saves what it has and leaves, or loses its place."""
        if self._launcher.workers():
            self._leaving.put_nowait((key, former))

    async def run(self) -> None:
        """See off, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._see_off(*await self._leaving.get()))

    async def _see_off(self, key: SessionKey, former: str) -> None:
        await asyncio.sleep(self._grace)
        try:
            await self._remove(key, former)
        except Unavailable:
            self.see_off(key, former)

    async def _remove(self, key: SessionKey, former: str) -> None:
        left = await self._without_lease(key, former)
        if left:
            # One that was let in just now may be about to take the lease.
            await asyncio.sleep(ENTERING_SECONDS)
            left &= await self._without_lease(key, former)
        for worker in left:
            log.warning("a worker without its lease did not leave and is killed", worker=worker)
            await self._launcher.kill(worker)

    async def _without_lease(self, key: SessionKey, former: str) -> set[str]:
        there = set(await self._let_into(key))
        if await self._is_ours(key, former):
            there.add(former)
        held = self._leases.held(key)
        return there - {held.holder if held else ""}

    def forget(self, worker: str) -> None:
        """The worker is gone."""
        self._asked.discard(worker)

    async def _is_ours(self, key: SessionKey, holder: str) -> bool:
        return holder in self._launcher.workers() and await self._grants.allow(holder, key)

    async def _let_into(self, key: SessionKey) -> list[str]:
        """Return those of our workers that were let into the session, whatever name its lease gives."""
        workers = list(self._launcher.workers())
        let_in = await asyncio.gather(*(self._grants.includes(worker, key) for worker in workers))
        return [worker for worker, is_in in zip(workers, let_in, strict=True) if is_in]
