"""A model that says what a test wants, and a driver for the agents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker.agents.protocol import Launch
from tests.agents.stories import MemoryState
from tests.messages_api import MessagesApi


@pytest.fixture
async def model() -> AsyncIterator[MessagesApi]:
    async with MessagesApi() as api:
        yield api


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
def launch(tmp_path: Path, model: MessagesApi) -> Launch:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    environment = {
        "ANTHROPIC_API_KEY": "stub",
        "ANTHROPIC_BASE_URL": model.url,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    return Launch(cwd=workspace, home=tmp_path / "home", env=environment, permission_mode="sandboxed")
