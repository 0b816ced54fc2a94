"""Images that people attach reach the model as images; what is none, or broken, is named alone."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from services.worker.agents.claude import ClaudeAgent
from services.worker.agents.pictures import LONGEST_SIDE, picture
from services.worker.agents.protocol import Attachment, Finished, Launch, Prompt, ToolStarted
from tests.agents.stories import MemoryState, running, say
from tests.messages_api import Call, MessagesApi


def drawn(form: str, size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, form)
    return out.getvalue()


def photo() -> bytes:
    """A picture as cameras make them: larger than a model looks at, lying on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Camera"
    out = io.BytesIO()
    Image.new("RGB", (LONGEST_SIDE + 200, 40), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


def attached(folder: Path, name: str, data: bytes, media_type: str = "image/png") -> Attachment:
    path = folder / name
    path.write_bytes(data)
    return Attachment(path=path, media_type=media_type)


def images(messages: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "image":
                yield base64.b64decode(block["source"]["data"])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_that_fits_is_given_as_it_is(tmp_path: Path, form: str) -> None:
    data = drawn(form)
    shown = picture(attached(tmp_path, "drawn", data).path)
    assert shown is not None
    assert (shown.media_type, base64.b64decode(shown.data)) == (f"image/{form.lower()}", data)


def test_a_large_picture_is_scaled_down(tmp_path: Path) -> None:
    shown = picture(attached(tmp_path, "photo.png", drawn("PNG", (4000, 1000))).path)
    assert shown is not None
    assert Image.open(io.BytesIO(base64.b64decode(shown.data))).size == (LONGEST_SIDE, LONGEST_SIDE // 4)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    shown = picture(attached(tmp_path, "photo.jpg", photo()).path)
    assert shown is not None
    width, height = Image.open(io.BytesIO(base64.b64decode(shown.data))).size
    assert (width < height, height) == (True, LONGEST_SIDE)


@pytest.mark.parametrize(
    "data",
    [b"", b"no image", drawn("BMP"), drawn("PNG")[:-30], drawn("JPEG")[:200], drawn("GIF", (9000, 9000))],
    ids=["nothing", "text", "another format", "a torn PNG", "a torn JPEG", "too many pixels"],
)
def test_what_a_model_cannot_look_at_is_no_picture(tmp_path: Path, data: bytes) -> None:
    assert picture(attached(tmp_path, "image.png", data).path) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*map(drawn, ("PNG", "JPEG", "GIF", "WEBP")), photo()]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=20),
)
def test_no_damage_makes_it_fail(tmp_path: Path, whole: bytes, damage: list[tuple[int, int]]) -> None:
    data = bytearray(whole)
    for place, value in damage:
        data[place % len(data)] = value
    shown = picture(attached(tmp_path, "damaged", bytes(data)).path)
    if shown is not None:
        Image.open(io.BytesIO(base64.b64decode(shown.data))).load()


async def test_the_model_sees_what_was_attached(
    model: MessagesApi, state: MemoryState, launch: Launch, tmp_path: Path
) -> None:
    whole, torn = drawn("PNG"), drawn("PNG")[:-30]
    files = (
        attached(tmp_path, "chart.png", whole),
        attached(tmp_path, "torn.png", torn),
        attached(tmp_path, "notes.txt", b"words", "text/plain"),
    )
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await agent.send(Prompt(id="p-1", text="What is this?", attachments=files))
        assert (await follower.until(Finished)).ok
    messages = model.requests[-1]["messages"]
    assert list(images(messages)) == [whole]
    assert all(each.path.name in str(messages) for each in files)


async def test_a_picture_reaches_the_model_while_it_works(
    model: MessagesApi, state: MemoryState, launch: Launch, tmp_path: Path
) -> None:
    whole = drawn("PNG")
    model.reply_to("begin", Call("Bash", {"command": "sleep 1"}))
    async with running(ClaudeAgent(state), launch) as (agent, follower):
        await say(agent, "begin")
        await follower.until(ToolStarted)
        prompt = Prompt(id="p-2", text="look", attachments=(attached(tmp_path, "chart.png", whole),))
        await agent.send(prompt)
        assert (await follower.until(Finished)).ok
    assert list(images(model.requests[-1]["messages"])) == [whole]
