"""A repository behind a password on git's own HTTP server (`python -m benchmarks.git_host`)."""

import asyncio
from pathlib import Path

import msgspec

from benchmarks.child import tell, told, until_ended
from services.worker.workspace import ensure_bare
from tests.workspace.smart_http import serving

REPOSITORY = "team.git"
MADE_WITHIN = 30.0


class Host(msgspec.Struct, kw_only=True):
    """Where the repository is to lie, and who may have it."""

    folder: str
    user: str
    password: str


async def _main(given: Host) -> None:
    deadline = asyncio.get_running_loop().time() + MADE_WITHIN
    await ensure_bare(Path(given.folder) / REPOSITORY, deadline=deadline)
    async with serving(Path(given.folder)) as server:
        server.user, server.token = given.user, given.password
        tell(f"{server.url}/{REPOSITORY}")
        await until_ended()


if __name__ == "__main__":
    # Not uvloop, which forks: each request starts a process.
    asyncio.run(_main(told(Host)))
