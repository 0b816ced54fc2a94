"""A kept workspace is the same after a restart."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from services.local.slack.app import Simulator
from services.local.slack.persistence import UnreadableWorkspaceError
from tests.slack_simulator.conftest import world


async def test_everything_said_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "slack" / "workspace.json"
    async with world(Simulator(persist=path)) as here:
        root = await here.say("@threadmill go", files=[{"name": "a.txt", "content": "YWJj"}])
        metadata = {"event_type": "turn", "event_payload": {"n": 1}}
        await here.slack.chat_postMessage(channel="C1", thread_ts=root, text="there", metadata=metadata)
        await here.slack.reactions_add(channel="C1", timestamp=root, name="eyes")
        await here.slack.agents_sessions_setStatus(channel_id="C1", thread_ts=root, status="active")
        before = await here.thread(root)
        token = here.simulator.bot_token
    async with world(Simulator(persist=path)) as here:
        after = await here.thread(root)
        assert without_address(after) == without_address(before)
        assert here.simulator.bot_token == token
        assert await here.say("later", thread_ts=root) > root
        [file] = after["messages"][0]["files"]
        async with here.http.get(f"{here.url}/sim/file", params={"id": file["id"]}) as response:
            assert await response.read() == b"abc"


def without_address(thread: dict[str, Any]) -> list[tuple[Any, ...]]:
    kept = ("ts", "text", "reactions", "metadata", "reply_count")
    return [tuple(one.get(name) for name in kept) for one in thread["messages"]] + [
        (thread["session_status"],)
    ]


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def test_the_file_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "workspace.json"
    async with world(Simulator(persist=path)) as here:
        await here.say("x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_bytes())["messages"]["C1"]
    assert names(tmp_path) == ["workspace.json", "workspace.json.files"]


def test_a_file_that_is_no_workspace_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "workspace.json"
    path.write_text("{}")
    with pytest.raises(UnreadableWorkspaceError, match="move it away"):
        Simulator(persist=path)
    assert path.read_text() == "{}"
