"""Files go up in three steps and come down to who may have them."""

import base64

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError

from tests.slack_simulator.conftest import World


async def test_slacks_own_upload_puts_the_file_into_the_thread(slack_world: World) -> None:
    root = await slack_world.say("@threadmill send it")
    uploaded = await slack_world.slack.files_upload_v2(
        channel="C1", thread_ts=root, filename="answer.md", content="# Long", title="The answer", initial_comment="Here."
    )  # fmt: skip
    message = (await slack_world.thread(root))["messages"][1]
    [file] = message["files"]
    assert (message["text"], file["title"], file["size"], file["mimetype"]) == (
        "Here.",
        "The answer",
        6,
        "text/markdown",
    )
    info = await slack_world.slack.files_info(file=file["id"])
    assert info["file"]["id"] == uploaded["files"][0]["id"]
    headers = {"Authorization": f"Bearer {slack_world.simulator.bot_token}"}
    async with slack_world.http.get(info["file"]["url_private_download"], headers=headers) as response:
        assert await response.read() == b"# Long"


async def test_an_upload_is_of_the_announced_size_and_happens_once(slack_world: World) -> None:
    step = await slack_world.slack.files_getUploadURLExternal(filename="a.txt", length=3)
    async with slack_world.http.post(step["upload_url"], data=b"four") as response:
        assert response.status == 400
    async with slack_world.http.post(step["upload_url"], data=b"abc") as response:
        assert response.status == 404
    with pytest.raises(SlackApiError, match="file_not_found"):
        await slack_world.slack.files_completeUploadExternal(files=[{"id": step["file_id"]}], channel_id="C1")


async def test_a_form_upload_works_too(slack_world: World) -> None:
    step = await slack_world.slack.files_getUploadURLExternal(filename="a.txt", length=3)
    form = aiohttp.FormData()
    form.add_field("file", b"abc", filename="a.txt")
    async with slack_world.http.post(step["upload_url"], data=form) as response:
        assert await response.text() == "OK - 3"


async def test_a_file_too_large_is_refused_before_it_is_sent(slack_world: World) -> None:
    with pytest.raises(SlackApiError, match="file_upload_size_restricted"):
        await slack_world.slack.files_getUploadURLExternal(filename="a", length=60 * 1024 * 1024)


@pytest.mark.parametrize(
    ("media_type", "manner"),
    [("image/png", "inline"), ("text/html", "attachment"), ("image/svg+xml", "attachment")],
)
async def test_the_page_shows_pictures_and_downloads_everything_else(
    slack_world: World, media_type: str, manner: str
) -> None:
    content = base64.b64encode(b"<script>").decode()
    ts = await slack_world.say(
        "x", files=[{"name": 'a"\r\nb.html', "media_type": media_type, "content": content}]
    )
    [file] = (await slack_world.thread(ts))["messages"][0]["files"]
    async with slack_world.http.get(f"{slack_world.url}/sim/file", params={"id": file["id"]}) as response:
        assert response.headers["Content-Disposition"].startswith(f"{manner};")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert await response.read() == b"<script>"


async def test_an_unknown_file_is_not_there(slack_world: World) -> None:
    for name in ("F9", "../../etc/passwd", ""):
        assert (await slack_world.look("file", id=name))["http"] == 404
