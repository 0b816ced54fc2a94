"""What a worker is told."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from services.runtime.lifecycle import ProcessSettings

# What the agent gets of the worker's environment: where programs are, and how to reach the model. Nothing else.
AGENT_NAMES = frozenset(
    [
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TERM",
        "TMPDIR",
        "USER",
        "LOGNAME",
        "SHELL",
        "IS_SANDBOX",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "https_proxy",
        "http_proxy",
        "no_proxy",
        "CLOUD_ML_REGION",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "GCLOUD_PROJECT",
    ]
)
# Where our own programs are, in an environment of their own: a Python without pip, and with our libraries.
VENV = Path(sys.executable).parent if sys.prefix != sys.base_prefix else None
AGENT_PREFIXES = ("ANTHROPIC_", "CLAUDE_CODE_", "CLAUDE_CONFIG_DIR", "AWS_", "VERTEX_")

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class WorkerSettings(ProcessSettings, frozen=True, kw_only=True):
    """Settings of a worker.

    `worker` is the name that its launcher gave it. `data` is the folder for workspaces; without `repo` each person
    gets a bare repository in it, unless `own_repositories` is false: `data` does not last. `idle_seconds` without input release the worker, and after `life_seconds` it hands over.
    With a `token`, its cluster's word for who it is, `nats.creds` only let it knock.
    """

    worker: str
    data: Path
    pool: str = "default"
    repo: str | None = None
    own_repositories: bool = True
    agent: Literal["claude", "acp", "recorded"] = "claude"
    model: str | None = None
    acp_command: tuple[str, ...] = ()
    recording: Path | None = None
    recording_speed: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    permission_mode: Literal["ask", "accept-edits", "sandboxed"] = "accept-edits"
    token: Path | None = None
    idle_seconds: Seconds = 300.0
    life_seconds: Seconds | None = None
    setup_seconds: Seconds = 600.0
    workspace_seconds: Seconds = 300.0

    @property
    def marks(self) -> dict[str, str]:
        """The variables by which the launcher finds what this worker left running, now and in another run of its own."""
        return {"THREADMILL_WORKER": self.worker, "THREADMILL_DATA": str(self.data)}


def agent_environment(environ: Mapping[str, str], ours: Path | None = VENV) -> dict[str, str]:
    """Return what of `environ` the agent may see. Its `python` is the machine's: programs of `ours` are looked for last."""
    seen = {
        name: value
        for name, value in environ.items()
        if name in AGENT_NAMES or name.startswith(AGENT_PREFIXES)
    }
    if "PATH" in seen and ours:
        folders = seen["PATH"].split(os.pathsep)
        seen["PATH"] = os.pathsep.join(sorted(folders, key=lambda each: Path(each) == ours))
    return seen


class TurnLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn may take: seconds, and US dollars where there is a budget, of which `spent_usd` are gone."""

    seconds: int
    max_budget_usd: float | None = None
    spent_usd: float = 0.0
