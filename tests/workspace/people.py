"""Who takes part in the stories: the agent and other people with a git of their own, and the holder of the lease."""

import asyncio
import os
import subprocess
from pathlib import Path

import psutil

from services.worker.workspace import Author, Commit, Push, Workspace

THREAD = "1712345678-123456"
ANN = Author("Ann Example", "U1")


def soon(seconds: float = 30) -> float:
    return asyncio.get_running_loop().time() + seconds


def holding() -> bool:
    return True


def git(folder: Path, *args: str, check: bool = True) -> str:
    """Run git as the agent or another person would: with the repository's own configuration."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_NAME": "Agent" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "agent@example.com" for role in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(["git", *args], cwd=folder, env=env, check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def seed(bare: Path, files: dict[str, str], at: Path) -> str:
    """Put a first commit on `main`; return its id."""
    git(bare.parent, "clone", "-q", str(bare), str(at))
    git(at, "checkout", "-q", "-B", "main")
    for name, text in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    git(at, "add", "-A")
    git(at, "commit", "-q", "-m", "First")
    git(at, "push", "-q", "origin", "main")
    return git(at, "rev-parse", "HEAD")


def remote_file(bare: Path, ref: str, name: str) -> str:
    return git(bare, "show", f"{ref}:{name}")


async def save(workspace: Workspace, message: str = "Work") -> tuple[Commit | None, Push]:
    """Autosave and push as the holder of the lease."""
    commit = await workspace.autosave(ANN, message, deadline=soon())
    return commit, await workspace.push(holding, deadline=soon())


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that nobody has reaped yet does not."""
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
