"""How Claude Code is started: its options, its environment, its command."""

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import claude_agent_sdk
from claude_agent_sdk import CanUseTool, ClaudeAgentOptions, McpSdkServerConfig, PermissionMode, SessionStore

from .claude_tools import SERVER
from .process_tree import MARKER, SUPERVISOR
from .protocol import AgentError, Launch
from .session_store import ConversationEntries

PERMISSION_MODES: Mapping[str, PermissionMode] = {
    "ask": "default",
    "accept-edits": "acceptEdits",
    "sandboxed": "bypassPermissions",
}
# They act after the turn's end, or move the work to where it is not saved.
UNFIT_TOOLS = [
    "CronCreate",
    "CronDelete",
    "CronList",
    "EnterWorktree",
    "ExitWorktree",
    "Monitor",
    "ScheduleWakeup",
]
ADDED_BY_SDK = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
    "PWD",
)
LARGEST_MESSAGE_BYTES = 64 * 1024**2  # one line of output; a tool's result with an image takes several MiB


def config_dir(launch: Launch) -> Path:
    """Return the folder of Claude Code's own files: the one of a login when the launch names it."""
    return Path(launch.env.get("CLAUDE_CONFIG_DIR") or launch.home / "claude").resolve()


def build_options(
    launch: Launch,
    mark: str,
    *,
    conversation: str,
    gate: CanUseTool,
    server: McpSdkServerConfig,
    entries: ConversationEntries,
) -> ClaudeAgentOptions:
    """Build the SDK's options and write the files that they name under `launch.home`."""
    environment = agent_environment(launch, mark)
    arguments: dict[str, str | None] = {"replay-user-messages": None}
    if launch.system_prompt:
        arguments["append-system-prompt-file"] = str(_write_system_prompt(launch))
    if launch.resume:
        # Not the SDK's own `resume`, which moves the agent to a temporary folder without the user's settings.
        arguments["resume"] = conversation
    return ClaudeAgentOptions(
        cwd=launch.cwd,
        env=environment,
        cli_path=_write_launcher(launch.home, environment),
        extra_args=arguments,
        session_id=None if launch.resume else conversation,
        model=launch.model,
        max_budget_usd=_budget(launch),
        permission_mode=PERMISSION_MODES[launch.permission_mode],
        can_use_tool=gate,
        disallowed_tools=UNFIT_TOOLS,
        system_prompt={"type": "preset", "preset": "claude_code"},
        setting_sources=["user", "project", "local"],
        mcp_servers={SERVER: server},
        include_partial_messages=True,
        verbatim_prompts=True,
        session_store=cast("SessionStore", entries),  # it needs no more than append, load and list_subkeys
        session_store_flush="eager",
        max_buffer_size=LARGEST_MESSAGE_BYTES,
    )


def agent_environment(launch: Launch, mark: str) -> dict[str, str]:
    """Return the agent's whole environment but for what the SDK sets."""
    added = {
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # one that ends later would begin a turn that nobody opened
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        "CLAUDE_CODE_ENABLE_TASKS": "0",  # the older list comes whole with each change
        "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
        "CLAUDE_CONFIG_DIR": str(config_dir(launch)),
        "DISABLE_AUTOUPDATER": "1",
        "MCP_TOOL_TIMEOUT": "604800000",  # a week: a person answers `ask`, and the turn has its own deadline
        MARKER: mark,
    }
    if launch.permission_mode == "sandboxed":
        added["IS_SANDBOX"] = "1"
    return {"HOME": str(launch.home), **launch.env, **added}


def _budget(launch: Launch) -> float | None:
    return None if launch.max_budget_usd is None else launch.max_budget_usd - launch.spent_usd


def _write_system_prompt(launch: Launch) -> Path:
    file = launch.home / "system-prompt.md"
    file.write_text(launch.system_prompt, encoding="utf-8")
    return file


def _write_launcher(home: Path, environment: Mapping[str, str]) -> Path:
    """Write the command that the SDK runs; it carries the names of the variables, never their values."""
    names = ",".join((*environment, *ADDED_BY_SDK))
    command = shlex.join([sys.executable, "-I", str(SUPERVISOR), names, str(_claude_code())])
    file = home / "claude-code"
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    file.chmod(0o700)
    return file


def _claude_code() -> Path:
    bundled = Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"
    if bundled.is_file():
        return bundled
    if found := shutil.which("claude"):
        return Path(found)
    raise AgentError("Claude Code is not installed here; install a claude-agent-sdk wheel that bundles it.")
