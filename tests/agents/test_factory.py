"""The agent that the settings name is made, with what the settings say."""

from pathlib import Path

import pytest

from services.worker.agents.factory import AgentSettings, Kind, make_agent, preload
from services.worker.agents.protocol import AgentError
from tests.agents.stories import MemoryState


@pytest.mark.parametrize(
    ("kind", "name"), [("claude", "ClaudeAgent"), ("acp", "AcpAgent"), ("recorded", "RecordedAgent")]
)
def test_each_kind_has_its_adapter(kind: Kind, name: str):
    preload(kind)
    agent = make_agent(kind, AgentSettings(acp_command=("agent",)), MemoryState())
    assert type(agent).__name__ == name
    assert agent.state_complete
    assert not agent.contains("anything")


def test_a_missing_recording_is_told():
    with pytest.raises(AgentError, match="cannot be played"):
        make_agent("recorded", AgentSettings(recording=Path("/no/such/file")), MemoryState())
