"""Makes the agent that the settings name."""

from importlib import import_module
from pathlib import Path
from typing import Literal

import msgspec

from .protocol import Agent, SessionTools, StateStore
from .recording import DEMO

Kind = Literal["claude", "acp", "recorded"]


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the adapters can be told: the ACP agent's command as an argument vector, the recording and its speed.

    A `recording_speed` of 2 halves the recorded pauses, 0 leaves them out.
    """

    acp_command: tuple[str, ...] = ()
    recording: Path = DEMO
    recording_speed: float = 1.0


def preload(kind: Kind) -> None:
    """Import the adapter of `kind`, which takes up to a second: for a worker that waits for its assignment."""
    import_module(f".{kind}", __package__)


def make_agent(
    kind: Kind, settings: AgentSettings, store: StateStore, tools: SessionTools | None = None
) -> Agent:
    """Make an agent that keeps its state in `store` and may use the session's `tools`.

    Raises `AgentError` when its settings are incomplete. Only the adapter of `kind` is imported.
    """
    if kind == "claude":
        from .claude import ClaudeAgent  # noqa: PLC0415 - its SDK takes a second to import

        return ClaudeAgent(store, tools)
    if kind == "acp":
        from .acp import AcpAgent  # noqa: PLC0415 - its SDK takes a second to import

        return AcpAgent(store, settings.acp_command)
    from .recorded import RecordedAgent  # noqa: PLC0415 - imported as the others are

    return RecordedAgent(store, settings.recording, speed=settings.recording_speed)
