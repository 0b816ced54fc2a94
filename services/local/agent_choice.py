"""Which agent local mode can run with what this machine has: pure but for a look at the login file."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.local.errors import LocalError

# Any of these lets Claude Code reach a model by itself.
KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
CLOUDS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX")
ACP_COMMAND, ACP_EXAMPLE = "THREADMILL_ACP_COMMAND", "npx,@agentclientprotocol/claude-agent-acp"
HINT = (
    "This agent plays a recording. For the real Claude Code set ANTHROPIC_API_KEY (or log in with `claude`, or set "
    "CLAUDE_CODE_USE_BEDROCK=1 or CLAUDE_CODE_USE_VERTEX=1 with your cloud's settings) and start again."
)


class Choice(msgspec.Struct, frozen=True):
    """The agent, whether a model stands behind it, what a person should know, and what its environment gets in addition."""

    agent: str
    real: bool
    hint: str = ""
    env: Mapping[str, str] = {}


def choose(asked: str | None, environ: Mapping[str, str], home: Path) -> Choice:
    """Return the agent that was `asked` for, or the best that there is. Raises `LocalError` for one that is not named."""
    if asked == "acp":
        if not environ.get(ACP_COMMAND):
            raise LocalError(f"no ACP agent is named: set {ACP_COMMAND}, for example to {ACP_EXAMPLE}")
        return Choice("acp", real=True)
    if asked == "recorded":
        return Choice("recorded", real=False, hint=HINT)
    if any(environ.get(name) for name in (*KEYS, *CLOUDS)):
        return Choice("claude", real=True)
    login = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    if (login / ".credentials.json").is_file():
        return Choice("claude", real=True, env={"CLAUDE_CONFIG_DIR": str(login)})
    if asked == "claude":
        return Choice("claude", real=True, hint=f"No key and no login was found. {HINT.split('. ', 1)[1]}")
    return Choice("recorded", real=False, hint=HINT)
