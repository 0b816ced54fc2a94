"""Files that people attach: named in the input, brought into the bucket, never a reason to lose the message."""

import asyncio
import base64

import pytest

from schemas.inputs import Said
from schemas.keys import SessionKey, ts_token
from schemas.people import File, Person
from services.ingress.attachments import choose
from services.ingress.events import SlackFile
from services.runtime.bus import Bus, Draft
from services.runtime.files import Files
from tests.ingress.stage import Door, Slack, eventually, running, stored


def attached(name: str, content: bytes) -> dict[str, str]:
    return {"name": name, "content": base64.b64encode(content).decode()}


async def first(bus: Bus) -> Said | None:
    return next((m for m in (await stored(bus)).values() if isinstance(m, Said)), None)


async def test_a_file_is_there_before_its_message_is_acknowledged(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    content = bytes(range(256)) * 2700
    root = ts_token(await slack.says("@threadmill look", files=[attached("a b.png", content)]))

    said = await eventually(lambda: first(bus))

    name = f"T1.C1.{root}/F1"
    assert said.files == (File(object=name, name="a b.png", media_type="image/png", size=len(content)),)
    assert await Files(bus).get(name) == content
    await slack.settled()
    assert len(await stored(bus)) == 1, "both of the pair name the same file"


async def test_a_file_without_a_word_is_a_message_too(bus: Bus, slack: Slack, ingress: Door) -> None:
    await slack.says("@threadmill", files=[attached("a.txt", b"hello")])
    said = await eventually(lambda: first(bus))
    assert (said.text, len(said.files)) == ("", 1)


async def test_what_is_too_large_is_told_and_left_out(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, file_bytes=1000, files=2):
        files = [attached("big.bin", b"x" * 1001), *(attached(f"{n}.txt", b"y") for n in range(3))]
        await slack.says("@threadmill look", files=files)
        said = await eventually(lambda: first(bus))
        calls = await eventually(lambda: slack.calls("chat.postEphemeral"))
        await slack.settled()
    assert [file.name for file in said.files] == ["0.txt", "1.txt"]
    text = calls[0]["args"]["text"]
    assert "big.bin is larger than" in text
    assert "only 2 files fit" in text
    assert len(calls) == 1


async def test_only_files_that_cannot_come_are_no_message(bus: Bus, slack: Slack) -> None:
    async with running(bus, slack, file_bytes=10):
        await slack.says("@threadmill", files=[attached("big.bin", b"x" * 11)])
        await eventually(lambda: slack.calls("chat.postEphemeral"))
        await slack.settled()
    assert await stored(bus) == {}


async def test_a_file_that_comes_late_is_named_at_once_and_brought_behind(
    bus: Bus, slack: Slack, ingress: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The file has no address in the event and Slack refuses to tell it twice: first by an error, then by a rate limit.
    await slack.fault(method="files.info", status=500, times=2)
    await slack.fault(method="files.info", status=429, retry_after=1, times=1)
    async with slack.api() as api:
        file = await api.upload_file("C1", name="late.txt", data=b"late")
    event = {"type": "app_mention", "channel": "C1", "user": "U1", "ts": slack.now(), "text": "<@UBOT> look"}
    body = slack.event(
        event | {"files": [{"id": file, "name": "late.txt", "mimetype": "text/plain", "size": 4}]}
    )

    loop = asyncio.get_running_loop()
    since = loop.time()
    assert (await slack.post(ingress, body))[0] == 200
    assert loop.time() - since < 5

    said = await eventually(lambda: first(bus))
    bucket = Files(bus)
    assert await bucket.get(said.files[0].object) is None

    async def arrived() -> bytes | None:
        return await bucket.get(said.files[0].object)

    assert await eventually(arrived, within=20) == b"late"


async def test_a_file_whose_ingress_died_is_brought_by_the_next_one(bus: Bus, slack: Slack) -> None:
    async with slack.api() as api:
        file = await api.upload_file("C1", name="late.txt", data=b"late")
    key = SessionKey.of_thread("T1", "C1", slack.now())
    name = f"{key}/{file}"
    reference = File(object=name, name="late.txt", media_type="text/plain", size=4)
    said = Said(id="1", user=Person(id="U1"), text="look", files=(reference,))
    await bus.publish(Draft(subject=said.subject(key), message=said))

    bucket = Files(bus)
    async with running(bus, slack):

        async def arrived() -> bytes | None:
            return await bucket.get(name)

        assert await eventually(arrived) == b"late"


async def test_the_next_message_waits_for_the_files_of_the_one_before(
    bus: Bus, slack: Slack, ingress: Door
) -> None:
    await slack.fault(method="files.info", status=500, times=20)
    root = slack.now()
    with_file = slack.event(
        {
            "type": "app_mention",
            "channel": "C1",
            "user": "U1",
            "ts": root,
            "text": "<@UBOT> look",
            "files": [{"id": "F9"}],
        }
    )
    after = slack.event(
        {
            "type": "message",
            "channel": "C1",
            "user": "U1",
            "ts": slack.now(1),
            "thread_ts": root,
            "text": "and fix it",
        }
    )
    one = asyncio.create_task(slack.post(ingress, with_file))
    await eventually(lambda: slack.calls("files.info"))
    assert (await slack.post(ingress, after))[0] == 200
    assert (await one)[0] == 200

    assert [message.text for message in (await stored(bus)).values() if isinstance(message, Said)] == [
        "look",
        "and fix it",
    ]


def test_a_link_elsewhere_is_no_file() -> None:
    chosen, complaint = choose([SlackFile(id="F1", mode="external", name="doc")], 10, 100)
    assert chosen == ()
    assert "doc is not kept in Slack" in complaint
