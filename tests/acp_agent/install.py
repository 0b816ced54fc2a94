"""A real ACP agent: the one that wraps Claude Code, installed from its lock file into the cache folder."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import claude_agent_sdk
import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache"
# The agent runs the Claude Code that is installed already.
CLAUDE_CODE = str(Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude")


def acp_agent() -> tuple[str, ...]:
    """Return the agent's command; the first time it is installed, by one of all who ask."""
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
