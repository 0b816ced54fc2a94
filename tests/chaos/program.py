"""Runs a service as its own `__main__` does, with what the campaign does to it from within.

`python -m tests.chaos.program SERVICE`. By the environment (THREADMILL_CHAOS_...): SKEW moves its clock by so many
seconds, CRASH kills it in a share of its lives just before or just after one of its writes, BATCHES has it store all
that may be stored together in batches, BROKEN names the promise that this build breaks on purpose. Nothing of this is
in the services.
"""

import asyncio
import errno
import os
import random
import runpy
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import schemas.base

MOST_WRITES = 60
PREFIX = "THREADMILL_CHAOS_"


def told(name: str) -> str:
    return os.environ.get(PREFIX + name, "")


def main(service: str) -> None:
    skew(float(told("SKEW") or 0))
    if service == "worker":
        os.environ["THREADMILL_NATS_URL"] = told("WORKER_NATS_URL")
    if service == "scheduler":
        launch_programs()
    crash_now_and_then(float(told("CRASH") or 0), Path(told("CALM")))
    if service == "archiver":
        run_out_of_disk(Path(told("FULL")))
    if told("BATCHES"):
        store_in_batches()
    if broken := told("BROKEN"):
        from tests.chaos.broken import MISTAKES  # noqa: PLC0415 (after the clock)

        if MISTAKES[broken].service == service:
            MISTAKES[broken].make()
    sys.argv = [service]
    runpy.run_module(f"services.{service}", run_name="__main__", alter_sys=True)


def skew(seconds: float) -> None:
    """Move the wall clock of this process; `now` is imported by name, so this comes before every other import."""
    if seconds:
        real_now, real_time = schemas.base.now, time.time
        schemas.base.now = lambda: real_now() + timedelta(seconds=seconds)
        time.time = lambda: real_time() + seconds


def store_in_batches() -> None:
    """Commit in batches at once, not only under load."""
    from services.runtime import group_commit  # noqa: PLC0415 (after the clock)

    group_commit.TOGETHER = 1


def launch_programs() -> None:
    """Let the scheduler launch workers in the same way."""
    from services.scheduler.process_launcher import ProcessLauncher  # noqa: PLC0415 (after the clock)

    ProcessLauncher.__init__.__kwdefaults__["command"] = (  # type: ignore[index]
        sys.executable,
        "-m",
        "tests.chaos.program",
        "worker",
    )
    choose_agents()


def choose_agents() -> None:
    """Let threads of the channels that the campaign names have the real Claude Code."""
    from services.scheduler import starting  # noqa: PLC0415 (after the clock)

    channels, assignment = set(told("CLAUDE_CHANNELS").split(",")), starting.Assignment

    def assigned(**fields: Any) -> Any:
        real = fields["session"].split(".")[1] in channels
        return assignment(**fields, agent="claude" if real else None)

    starting.Assignment = assigned  # type: ignore[assignment,misc]


def run_out_of_disk(full: Path) -> None:
    """As long as the file `full` is there, the archive's disk takes half of what is written and no more."""
    from services.archiver import versions  # noqa: PLC0415 (after the clock)

    real = versions.write_new

    def write_new(path: Path, data: bytes) -> None:
        if not full.exists():
            real(path, data)
            return
        real(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    versions.write_new = write_new  # type: ignore[attr-defined]


def crash_now_and_then(share: float, calm: Path) -> None:
    """Die at a write, in a `share` of all lives: just before it is sent, or when it is stored and nobody heard so."""
    lot = random.SystemRandom()
    if lot.random() >= share:
        return
    from services.runtime.bus import Bus  # noqa: PLC0415 (after the clock)

    real, after, left = Bus._attempt, lot.random() < 0.5, [lot.randint(1, MOST_WRITES)]

    async def attempt(self: Bus, *args: Any) -> Any:
        left[0] -= 1
        if left[0] or await asyncio.to_thread(calm.exists):
            return await real(self, *args)
        if after:
            await real(self, *args)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    Bus._attempt = attempt  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    main(sys.argv[1])
