"""The environment that a worker process gets: what it needs to run, what its agent is configured with, nothing else."""

import re
from collections.abc import Mapping

NAMES = {
    "PATH",
    "HOME",
    "LANG",
    "CLAUDE_CONFIG_DIR",
    "HTTPS_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
}
PREFIXES = ("SSL_CERT_", "ANTHROPIC_", "CLAUDE_CODE_", "AWS_", "GOOGLE_", "CLOUD_ML_", "VERTEX_", "VERTEXAI_")

WORKER = "THREADMILL_WORKER"
POOL = "THREADMILL_POOL"
DATA = "THREADMILL_DATA"
URL = "THREADMILL_NATS_URL"
CREDS = "THREADMILL_NATS_CREDS"
TEMPORARY = "TMPDIR"


def worker_environment(
    environ: Mapping[str, str], extra: Mapping[str, str], name: str, pool: str
) -> dict[str, str]:
    """Return the environment of the worker `name`; `extra` wins over what is inherited."""
    inherited = {key: value for key, value in environ.items() if key in NAMES or key.startswith(PREFIXES)}
    return inherited | dict(extra) | {WORKER: name, POOL: pool}


def anonymous(url: str) -> str:
    """Return the broker's `url` without a name, password or token."""
    return re.sub(r"^(\w+://)?.*@", r"\1", url)


def shared_settings(environ: Mapping[str, str], url: str) -> dict[str, str]:
    """Return the settings that workers of a scheduler process get as well: all but those that are its own.

    They find the broker at `url`, and say by themselves who they are.
    """
    own = (
        "THREADMILL_SCHEDULER_",
        "THREADMILL_HEALTH_",
        "THREADMILL_SIGNING_",
        "THREADMILL_STRICT",
        "THREADMILL_NATS_CREDS",
        "THREADMILL_NATS_NKEY_",
        "THREADMILL_NATS_TLS_",
    )
    shared = {
        key: value
        for key, value in environ.items()
        if key.startswith("THREADMILL_") and not key.startswith(own)
    }
    return shared | {URL: anonymous(url)}
