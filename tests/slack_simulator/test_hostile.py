"""What strangers send to the simulator: every door says what is wrong, and the next one who knocks is served."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.local.slack.api import METHODS
from services.local.slack.app import Simulator
from services.local.slack.calls import read_arguments
from services.local.slack.errors import SlackError
from tests.mutations import ODD, mutated
from tests.slack_simulator.conftest import CLIENT, World

BODIES: dict[str, dict[str, Any]] = {
    "message": {
        "user": "U1",
        "channel": "C1",
        "text": "hello",
        "files": [{"name": "a.txt", "content": "YQ==", "media_type": "text/plain"}],
    },
    "action": {"user": "U1", "channel": "C1", "message_ts": "1.1", "action_id": "a", "value": "v"},
    "reaction": {"user": "U1", "channel": "C1", "ts": "1.1", "name": "eyes", "remove": True},
    "edit": {"user": "U1", "channel": "C1", "ts": "1.1", "text": "new"},
    "delete": {"user": "U1", "channel": "C1", "ts": "1.1"},
    "stop": {"user": "U1", "channel": "C1", "thread_ts": "1.1"},
    "view": {"user": "U1", "view_id": "V1", "values": {"b": {"a": "text"}}},
    "fault": {"method": "no.such", "status": 429, "retry_after": 3, "times": 2},
}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), door=st.sampled_from(sorted(BODIES)))
async def test_a_body_with_something_wrong_is_refused_with_a_sentence(
    slack_world: World, data: st.DataObject, door: str
) -> None:
    body = data.draw(mutated(BODIES[door]))
    headers = CLIENT | {"Content-Type": "application/json"}
    async with slack_world.http.post(f"{slack_world.url}/sim/{door}", data=body, headers=headers) as response:
        answer = await response.json()
    assert response.status in {200, 400, 404}
    assert answer["ok"] or answer["error"]
    assert await slack_world.say("is anybody there?")


# No body that can be read holds half a character.
READABLE = [value for value in ODD if value != "\ud800"]
ARGUMENTS = st.sampled_from(["C1", "D1", "U1", "UBOT", "T1", "F1", "1.1", "eyes", 1, *READABLE])


@settings(max_examples=500)
@given(data=st.data(), name=st.sampled_from(sorted(METHODS)))
def test_no_arguments_break_a_method(data: st.DataObject, name: str) -> None:
    method, simulator = METHODS[name], Simulator()
    given = data.draw(st.dictionaries(st.sampled_from(_names(method.arguments)), ARGUMENTS, max_size=8))
    try:
        answer = method.run(simulator._context("http://slack"), read_arguments(method.arguments, given))
    except SlackError as e:
        answer = {"error": e.error, **e.details}
    assert msgspec.json.encode(answer)


def _names(shape: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(shape)] or ["none"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"\xff"),
        ("application/json", b'{"text": "\xff"}'),
        ("application/json", b"[" * 100_000),
        ("application/x-www-form-urlencoded; charset=nonsense", b"channel=C1"),
        ("application/x-www-form-urlencoded", b"channel=\xff"),
        ("application/x-www-form-urlencoded", b"channel=C1&blocks=" + b"[" * 100_000),
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"--y"),
        ("multipart/form-data; boundary=x", b"--x\r\nhalf a part"),
    ],
)
async def test_a_call_that_cannot_be_read_is_answered_in_slacks_words(
    slack_world: World, kind: str, body: bytes
) -> None:
    headers = {"Content-Type": kind, "Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    async with slack_world.http.post(
        f"{slack_world.url}/api/chat.postMessage", data=body, headers=headers
    ) as response:
        assert response.status == 200
        assert (await response.json())["error"].startswith("invalid_")
    assert (await slack_world.slack.auth_test())["ok"]


async def test_an_upload_that_cannot_be_read_says_so(slack_world: World) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with slack_world.http.post(
        f"{slack_world.url}/files/upload/ticket", data=b"--y", headers=headers
    ) as response:
        assert (response.status, await response.text()) == (400, "The form cannot be read.")


@pytest.mark.parametrize("path", ["/api/auth.test", "/files/private/F1/a.txt"])
async def test_a_token_that_is_no_text_opens_nothing(slack_world: World, path: str) -> None:
    answer = await _raw(slack_world, b"GET %s HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n" % path.encode())
    assert b"invalid_auth" in answer or b" 302 " in answer


async def _raw(world: World, head: bytes) -> bytes:
    """Send what no client would, and return all of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(head + b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer
