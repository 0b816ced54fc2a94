"""Ending workers: at once, or when they have handed over; and which ones, since a lease gives its holder any name."""

import asyncio

from schemas.keys import SessionKey
from services.scheduler.grants import Grants
from services.scheduler.launcher import Launcher


class Dismissal:
    """Ends those of this replica's workers that hold a session. All of it raises `Unavailable`."""

    def __init__(self, launcher: Launcher, grants: Grants) -> None:
        self._launcher = launcher
        self._grants = grants
        self._asked: set[str] = set()

    async def kill(self, key: SessionKey, holder: str) -> bool:
        """Kill the worker of `key` and all that it started; False for one that another replica launched."""
        workers = await self._workers_of(key, holder)
        return any(await asyncio.gather(*map(self._launcher.kill, workers)))

    async def retire(self, key: SessionKey, holder: str) -> None:
        """Ask the worker of `key` to leave, once."""
        if holder in self._asked:
            return
        for worker in await self._workers_of(key, holder):
            if worker not in self._asked and await self._launcher.retire(worker):
                self._asked.add(worker)

    def forget(self, worker: str) -> None:
        """The worker is gone."""
        self._asked.discard(worker)

    async def _workers_of(self, key: SessionKey, holder: str) -> list[str]:
        """Return which of our workers hold the session: the holder, or where it has no right to that name, whoever has one."""
        workers = list(self._launcher.workers())
        if await self._grants.allow(holder, key):
            return [holder] if holder in workers else []
        let_in = await asyncio.gather(*(self._grants.includes(worker, key) for worker in workers))
        return [worker for worker, is_in in zip(workers, let_in, strict=True) if is_in]
