"""Another agent in the thread: a real one that speaks the Agent Client Protocol, by `--agent acp`."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.acp_agent.install import CLAUDE_CODE, acp_agent
from tests.e2e.conftest import System, finals, make_system, shown_text, turns_done
from tests.messages_api import Call, MessagesApi, Say, human_texts


@pytest.fixture
async def system(tmp_path: Path, model: MessagesApi) -> AsyncIterator[System]:
    system = make_system(tmp_path, model.url, {"THREADMILL_PERMISSION_MODE": "sandboxed"})
    environ = dict(system.settings.environ) | {
        "THREADMILL_ACP_COMMAND": ",".join(acp_agent()),
        "CLAUDE_CODE_EXECUTABLE": CLAUDE_CODE,
    }
    system.settings = msgspec.structs.replace(system.settings, agent="acp", environ=environ)
    await system.start()
    yield system
    await system.stop()


async def test_an_acp_agent_works_in_the_thread_and_goes_on_after_a_restart(
    system: System, model: MessagesApi
) -> None:
    model.reply_to(
        "leave a note", Call("Bash", {"command": "echo hello > note.txt"}), Say("The note is there.")
    )
    ts = await system.say("<@UBOT> leave a note")
    thread = await system.until(ts, turns_done(1))
    assert "task_card" in shown_text(thread)
    assert "The note is there." in shown_text(finals(thread)[0])
    assert "threadmill/" in shown_text(finals(thread)[0])
    await system.stop()
    await system.start()
    await system.say("what did you do?", ts)
    await system.until(ts, turns_done(2))
    assert human_texts(model.requests[-1]["messages"])[-1] == "what did you do?"
    assert "The note is there." in str(model.requests[-1]["messages"])
