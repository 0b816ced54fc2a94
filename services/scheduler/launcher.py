"""What the scheduler asks of whatever runs workers: processes on this machine, or Jobs in a cluster."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol


class LaunchFailed(Exception):
    """No worker could be started; the sentence says why."""


class Launcher(Protocol):
    """Starts and ends workers. A worker's name is a token of its own, used once."""

    async def recover(self) -> None:
        """Find what an earlier run left behind; its workers that are gone come out of `exited` (again)."""

    async def launch(self, pool: str) -> str:
        """Start a worker for `pool` and return its name. Raises `LaunchFailed`."""

    async def kill(self, name: str) -> bool:
        """End the worker and all that it started, at once, and wait until it is gone; False for an unknown one."""

    async def retire(self, name: str) -> bool:
        """Ask the worker to hand over and leave; False for an unknown one."""

    async def terminate_all(self, grace: float) -> None:
        """Ask all workers to leave; end those that remain after `grace` seconds."""

    def workers(self) -> Collection[str]:
        """Return the names of the workers that run."""

    def exited(self) -> AsyncIterator[str]:
        """Yield the name of each worker that is gone, for ever."""
