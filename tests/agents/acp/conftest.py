"""A real ACP agent: the one that wraps Claude Code, installed from its lock file into the cache folder."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import claude_agent_sdk
import pytest

from services.worker.agents.protocol import Launch
from tests.agents.stories import with_environment

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache"


@pytest.fixture(scope="session")
def acp_command() -> tuple[str, ...]:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"acp-agent-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            options = ("--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund")
            subprocess.run(("npm", "ci", *options), cwd=folder, check=True, capture_output=True, timeout=300)
            (folder / "installed").touch()
    program = folder / "node_modules" / "@agentclientprotocol" / "claude-agent-acp" / "dist" / "index.js"
    return ("node", str(program))


@pytest.fixture
def acp_launch(launch: Launch) -> Launch:
    """Let the agent run the Claude Code that is installed already."""
    claude = Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"
    return with_environment(
        launch,
        CLAUDE_CODE_EXECUTABLE=str(claude),
        CLAUDE_CODE_DISABLE_BACKGROUND_TASKS="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        IS_SANDBOX="1",
        PATH=os.environ["PATH"],
    )
