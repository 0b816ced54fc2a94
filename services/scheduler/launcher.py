"""What the scheduler asks of whatever runs workers: processes on this machine, or Jobs in a cluster."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Protocol

import msgspec

from schemas.keys import SessionKey


class LaunchFailed(Exception):
    """No worker could be started; the sentence says why."""


class Exit(msgspec.Struct, frozen=True):
    """The worker `name` is gone; `reason` is a clause about it (`it ran out of memory`), empty where it just left."""

    name: str
    reason: str = ""


class Launcher(Protocol):
    """Starts and ends workers. A worker's name is a token of its own, used once.

    Where they are `shared`, every replica of the scheduler knows and may end the workers of all.
    """

    shared: bool

    async def run(self) -> None:
        """Follow the workers for as long as there is anything to follow."""

    async def recover(self) -> None:
        """Find what an earlier run left behind; its workers that are gone come out of `exited` (again)."""

    async def launch(self, pool: str) -> str:
        """Start a worker for `pool` and return its name. Raises `LaunchFailed`."""

    async def kill(self, name: str) -> bool:
        """End the worker and all that it started, at once; False where it is not known to be gone by that."""

    async def retire(self, name: str) -> bool:
        """Ask the worker to hand over and leave; False for an unknown one, and where it cannot be asked now."""

    async def terminate_all(self, grace: float) -> None:
        """Leave no worker that cannot do without this process: ask, and after `grace` seconds end those that remain."""

    def workers(self) -> Collection[str]:
        """Return the names of the workers that run, or are about to."""

    def outdated(self) -> Collection[str]:
        """Return those of `workers` that an earlier release launched: they should leave before they take any work."""

    def leaving(self) -> Collection[str]:
        """Return those of `workers` that were told to leave."""

    def coming(self) -> Collection[str]:
        """Return those of `workers` that do not run yet, for all that is known."""

    def is_full(self) -> bool:
        """Tell whether no more workers fit for now, whatever the rules say."""

    def may_try(self) -> bool:
        """Tell whether a worker may be launched: where it is full, one now and then."""

    def is_coming(self) -> bool:
        """Tell whether a worker is on its way that only needs more time, such as that of a node that is being added."""

    def working(self, name: str, session: SessionKey) -> None:
        """Hear that the worker `name` holds `session`."""

    def exited(self) -> AsyncIterator[Exit]:
        """Yield each worker that is gone, for ever."""

    def troubles(self) -> AsyncIterator[str]:
        """Yield why workers do not come, for ever: a clause at each change, empty once they do."""


class OwnWorkers:
    """What a launcher answers whose workers are its own, run as soon as they are launched, and end with it."""

    shared = False

    async def run(self) -> None:
        """Return: each worker is followed from its launch."""

    def outdated(self) -> Collection[str]:
        """Return nobody: none outlives the release that launched it."""
        return ()

    def leaving(self) -> Collection[str]:
        """Return nobody: who is asked to leave is gone in a moment."""
        return ()

    def coming(self) -> Collection[str]:
        """Return nobody: they run at once."""
        return ()

    def is_full(self) -> bool:
        """Return False: only the rules say how many there may be."""
        return False

    def may_try(self) -> bool:
        """Return True, for the same reason."""
        return True

    def is_coming(self) -> bool:
        """Return False: a worker is there at once, or never."""
        return False

    def working(self, name: str, session: SessionKey) -> None:
        """Do nothing: who works where stands in the leases."""

    async def troubles(self) -> AsyncIterator[str]:
        """Yield nothing, for ever: what cannot be launched says so at once."""
        await asyncio.Event().wait()
        yield ""
