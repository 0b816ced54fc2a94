"""The repository's own preparation: `.threadmill/setup`, run once before the agent, with the agent's environment."""

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from services.worker.workspace import process

SCRIPT = ".threadmill/setup"
TAIL = 4000  # bytes of output that are kept


class SetupResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the preparation went. `problem` is one sentence when not `ok`; `output` is the end of what it printed."""

    ok: bool
    duration: float
    output: str = ""
    problem: str = ""


async def run_setup(
    workspace: Path, env: Mapping[str, str], *, deadline: float, progress: Callable[[str], None]
) -> SetupResult | None:
    """Run the script in the workspace with `env` alone; None when the repository has none. Output lines go to `progress`."""
    script = workspace / SCRIPT
    try:
        mode = script.stat().st_mode
    except OSError:
        return None
    if not stat.S_ISREG(mode) or not os.access(script, os.X_OK):
        return SetupResult(
            ok=False, duration=0, problem=f"`{SCRIPT}` is not executable; `chmod +x` it and commit that."
        )
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        done = await process.run(
            [str(script)], cwd=workspace, env=env, deadline=deadline, limit=TAIL, merge=True, on_line=progress
        )
    except OSError as e:
        return SetupResult(ok=False, duration=0, problem=f"`{SCRIPT}` cannot be started: {e.strerror}.")
    return SetupResult(
        ok=done.code == 0,
        duration=loop.time() - began,
        output=done.out.decode(errors="replace"),
        problem=_problem(done.code),
    )


def _problem(code: int | None) -> str:
    if code is None:
        return f"`{SCRIPT}` did not end in time and was stopped."
    return f"`{SCRIPT}` failed with status {code}." if code else ""
