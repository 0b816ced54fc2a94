"""The real ACP agent, as its adapter starts it."""

import os

import pytest

from services.worker.agents.protocol import Launch
from tests.acp_agent.install import CLAUDE_CODE, acp_agent
from tests.agents.stories import with_environment


@pytest.fixture(scope="session")
def acp_command() -> tuple[str, ...]:
    return acp_agent()


@pytest.fixture
def acp_launch(launch: Launch) -> Launch:
    return with_environment(
        launch,
        CLAUDE_CODE_EXECUTABLE=CLAUDE_CODE,
        CLAUDE_CODE_DISABLE_BACKGROUND_TASKS="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        IS_SANDBOX="1",
        PATH=os.environ["PATH"],
    )
