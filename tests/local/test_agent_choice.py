"""Which agent `dev` runs, by what this machine has."""

from pathlib import Path

import pytest

from services.local.agent_choice import choose
from services.local.errors import LocalError


def test_without_a_key_or_a_login_a_recording_plays_and_says_how_to_get_the_real_agent(
    tmp_path: Path,
) -> None:
    choice = choose(None, {}, tmp_path)
    assert (choice.agent, choice.real) == ("recorded", False)
    assert "ANTHROPIC_API_KEY" in choice.hint


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"])
def test_with_a_way_to_a_model_it_is_claude(name: str, tmp_path: Path) -> None:
    assert choose(None, {name: "1"}, tmp_path).agent == "claude"


def test_a_login_is_found_and_handed_on(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    choice = choose(None, {}, tmp_path)
    assert (choice.agent, choice.env) == ("claude", {"CLAUDE_CONFIG_DIR": str(tmp_path / ".claude")})


def test_an_acp_agent_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="set THREADMILL_ACP_COMMAND"):
        choose("acp", {}, tmp_path)
    assert choose("acp", {"THREADMILL_ACP_COMMAND": "my-agent"}, tmp_path).agent == "acp"
